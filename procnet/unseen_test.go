package procnet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const udpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  210: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  211: 0100007F:0036 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  215: 7F00000A:0039 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  212: 0A00000A:0037 0A00000A:0035 01 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  213: 00000000:C350 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  214: 00000000:ZZ 00000000:0000 07
`

const udp6Table = `  sl  local_address                         remote_address                        st
  313: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07
  314: 00000000000000000000000001000000:0038 00000000000000000000000000000000:0000 07
  315: 00000000000000000000000000000000:20FB 00000000000000000000000000000000:0000 07
`

const unixTable = `Num       RefCount Protocol Flags    Type St Inode Path
00000000e39285d0: 00000002 00000000 00010000 0001 01 1 /run/app.sock
00000000e39285d1: 00000002 00000000 00000000 0001 03 1 /run/app.sock
00000000e39285d2: 00000002 00000000 00010000 0005 01 1 @abstract
00000000e39285d3: 00000002 00000000 00010000 0001 01 1
`

func TestUnseen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"nothing", nil, nil},
		{"empty tables", map[string]string{"net/udp": "  sl\n", "net/unix": "Num\n", "net/protocols": "protocol\nTCP 1 5\nSMC 1 0 -1\n", "version": "Linux version 6.1.0"}, nil},
		{"UDP", map[string]string{"net/udp": udpTable, "net/udp6": udp6Table}, []string{"UDP on :53, :57, :8443: what comes there is not seen (DNS, QUIC): use --min"}},
		{"unix", map[string]string{"net/unix": unixTable},
			[]string{`unix sockets that somebody listens on ("/run/app.sock", "@abstract"): what comes there is not seen; a proxy before it must have the hook`}},
		{"many", map[string]string{"net/unix": strings.Repeat(strings.Split(unixTable, "\n")[1]+"\n", 20)}, []string{
			"unix sockets that somebody listens on (" + strings.Repeat(`"/run/app.sock", `, 7) + `"/run/app.sock" and 12 more): what comes there is not seen; a proxy before it must have the hook`}},
		{"SMC", map[string]string{"net/protocols": "protocol size sockets\nSMC6 1200 2 -1\n"}, []string{"SMC: data of its connections passes TCP by, so requests on them are not seen"}},
		{"gVisor", map[string]string{"version": "Linux version 4.19.0-gvisor #1 SMP Sun Jan 10 15:06:54 PST 2016"},
			[]string{"gVisor: connections that wait in an accept queue are invisible here: use --min where the app may be slow to accept"}},
		{"an older gVisor", map[string]string{"version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016"},
			[]string{"gVisor: connections that wait in an accept queue are invisible here: use --min where the app may be slow to accept"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "net"), 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := Unseen(root); !slices.Equal(got, tt.want) {
				t.Errorf("%q\nwant %q", got, tt.want)
			}
		})
	}
}

func FuzzUnseen(f *testing.F) {
	for _, s := range []string{udpTable, udp6Table, unixTable, "SMC 1 2\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range boundUDP(strings.NewReader(text)) {
			if p == 0 || p >= firstEphemeral {
				t.Errorf("port %d", p)
			}
		}
		for _, name := range listeningUnix(strings.NewReader(text)) {
			if strings.ContainsAny(name, "\n\x1b") {
				t.Errorf("name %q", name)
			}
		}
		usesSMC(strings.NewReader(text))
	})
}
