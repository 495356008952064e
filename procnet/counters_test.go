package procnet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// figures are what the counters say; -1: an error.
type figures struct {
	Opens, Segs, Acks, Drops int
}

func figuresOf(t testing.TB, root string) (f figures) {
	t.Helper()
	c, err := openCounters(root)
	if err != nil {
		t.Fatal(err)
	}
	f = figures{-1, -1, -1, -1}
	if tcp, err := c.tcp(); err == nil {
		f.Opens, f.Segs = int(tcp.opens), int(tcp.segs)
	}
	if ext, err := c.tcpExt(); err == nil {
		f.Acks, f.Drops = int(ext.pureAcks), int(ext.drops)
	}
	return f
}

func TestCounters(t *testing.T) {
	tests := map[string]figures{
		"linux-6.18": {6, 27, 8, 1},
		"old":        {22, 66, 6, 3},
		"sandbox":    {2, 400, -1, -1}, // netstat has the names alone
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(want, figuresOf(t, testdataProc(t, name))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCountersOfAnyKind(t *testing.T) {
	const none = "TcpExt: SyncookiesSent\nTcpExt: 0\n"
	tests := map[string]struct {
		snmp, netstat string
		want          figures
	}{
		"the least":          {"Tcp: PassiveOpens InSegs\nTcp: 1 2\n", none, figures{1, 2, 0, 0}},
		"overflows":          {"Tcp: PassiveOpens InSegs\nTcp: 1 2\n", "TcpExt: ListenOverflows TCPPureAcks\nTcpExt: 3 4\n", figures{1, 2, 4, 3}},
		"no such column":     {"Tcp: InSegs\nTcp: 2\n", none, figures{-1, -1, 0, 0}},
		"no such line":       {"Udp: InDatagrams\nUdp: 2\n", none, figures{-1, -1, 0, 0}},
		"a negative number":  {"Tcp: PassiveOpens InSegs\nTcp: 1 -2\n", none, figures{-1, -1, 0, 0}},
		"no number":          {"Tcp: PassiveOpens InSegs\nTcp: 1 x\n", none, figures{-1, -1, 0, 0}},
		"not a number":       {"Tcp: PassiveOpens InSegs\nTcp: 1 NaN\n", none, figures{-1, -1, 0, 0}},
		"too large a number": {"Tcp: PassiveOpens InSegs\nTcp: 1 1e300\n", none, figures{-1, -1, 0, 0}},
		"cut off":            {"Tcp: PassiveOpens InSegs\nTcp: 1\n", "TcpExt: TCPPureAcks\n", figures{-1, -1, -1, -1}},
		"empty":              {"", "", figures{-1, -1, 0, 0}},
		"negative elsewhere": {"Tcp: MaxConn PassiveOpens InSegs\nTcp: -1 1 2\n", none, figures{1, 2, 0, 0}},
		"an endless line":    {"Tcp: " + strings.Repeat("x", 1<<21), strings.Repeat("y ", 1<<20), figures{-1, -1, -1, -1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := newProcRoot(t)
			writeCounters(t, root, tt.snmp, tt.netstat)
			if d := cmp.Diff(tt.want, figuresOf(t, root)); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzCounters(f *testing.F) {
	for _, name := range []string{"linux-6.18", "old", "sandbox"} {
		f.Add(readTestdata(f, name+"/net/snmp"), readTestdata(f, name+"/net/netstat"))
	}
	root := newProcRoot(f)
	f.Fuzz(func(t *testing.T, snmp, netstat []byte) {
		writeCounters(t, root, string(snmp), string(netstat))
		got := figuresOf(t, root)
		for _, n := range []int{got.Opens, got.Segs, got.Acks, got.Drops} {
			if n < -1 {
				t.Errorf("%+v", got)
			}
		}
	})
}

// newProcRoot makes a /proc with one process, which is this one, and no files.
func newProcRoot(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "1", "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	linkSelf(t, root)
	return root
}

// testdataProc makes a /proc of captured files.
func testdataProc(t testing.TB, name string) string {
	t.Helper()
	captured, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Symlink(captured, filepath.Join(root, "1")); err != nil {
		t.Fatal(err)
	}
	linkSelf(t, root)
	return root
}

func linkSelf(t testing.TB, root string) {
	t.Helper()
	for link, to := range map[string]string{"self": "1", "net": "self/net"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
}

func writeCounters(t testing.TB, root, snmp, netstat string) {
	t.Helper()
	for name, text := range map[string]string{"snmp": snmp, "netstat": netstat} {
		if err := os.WriteFile(filepath.Join(root, "net", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
