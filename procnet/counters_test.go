package procnet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCounters(t *testing.T) {
	tests := []struct {
		name, file, prefix string
		names              []string
		want               []uint64
		found              uint
	}{
		{"snmp", "linux-6.18/net/snmp", "Tcp:", []string{"PassiveOpens", "InSegs"}, []uint64{6, 27}, 0b11},
		{"old snmp", "old/net/snmp", "Tcp:", []string{"InSegs", "PassiveOpens"}, []uint64{66, 22}, 0b11},
		{"old netstat", "old/net/netstat", "TcpExt:", []string{"TCPPureAcks", "ListenDrops", "ListenOverflows"}, []uint64{6, 3, 2}, 0b111},
		{"no such column", "old/net/netstat", "TcpExt:", []string{"TCPNews", "ListenDrops"}, []uint64{0, 3}, 0b10},
		{"names alone", "sandbox/net/netstat", "TcpExt:", []string{"TCPPureAcks"}, []uint64{0}, 0},
		{"no such lines", "old/net/snmp", "Udp:", []string{"InSegs"}, []uint64{0}, 0},
		{"a negative number elsewhere", "old/net/snmp", "Tcp:", []string{"ActiveOpens"}, []uint64{11}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := readTestdata(t, tt.file)
			got := make([]uint64, len(tt.names))
			found, err := parseCounters(text, tt.prefix, tt.names, got)
			if err != nil || found != tt.found {
				t.Errorf("found %b, %v, want %b", found, err, tt.found)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseCountersErrors(t *testing.T) {
	for _, number := range []string{"-1", "x", "18446744073709551616", strings.Repeat("9", 200)} {
		_, err := parseCounters([]byte("Tcp: A InSegs\nTcp: 1 "+number+"\n"), "Tcp:", []string{"InSegs"}, make([]uint64, 1))
		if err == nil || !strings.Contains(err.Error(), "InSegs") || len(err.Error()) > 100 {
			t.Errorf("%s: %v", number, err)
		}
	}
	v := make([]uint64, 1)
	if _, err := parseCounters([]byte("Tcp: A\nTcp: 18446744073709551615\n"), "Tcp:", []string{"A"}, v); err != nil || v[0] != 1<<64-1 {
		t.Errorf("the largest number: %d, %v", v[0], err)
	}
}

// A file larger than the buffer is read as far as whole lines go.
func TestCounterFileIsBounded(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "Tcp: InSegs\nTcp: 7\n" + strings.Repeat("x", maxCounterFile)
	if err := os.WriteFile(filepath.Join(root, "net", "snmp"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := openCounters(root, "snmp", "Tcp:", "InSegs")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v := make([]uint64, 1)
	if found, err := c.read(v); found != 1 || err != nil || v[0] != 7 {
		t.Errorf("%b %v %v", found, v, err)
	}
}

func FuzzParseCounters(f *testing.F) {
	for _, name := range []string{"linux-6.18/net/snmp", "linux-6.18/net/netstat", "old/net/snmp", "sandbox/net/netstat"} {
		f.Add(readTestdata(f, name))
	}
	names := []string{"InSegs", "TCPPureAcks"}
	f.Fuzz(func(t *testing.T, text []byte) {
		v := make([]uint64, 2)
		for _, prefix := range []string{"Tcp:", "TcpExt:"} {
			if found, err := parseCounters(text, prefix, names, v); err != nil && found != 0 {
				t.Errorf("found %b, and %v", found, err)
			}
		}
	})
}

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
