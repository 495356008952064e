package procnet

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGateways(t *testing.T) {
	var got []string
	for _, a := range Gateways(filepath.Join("testdata", "linux-6.18")) {
		got = append(got, a.String())
	}
	if d := cmp.Diff([]string{"10.244.0.1", "fd00:10:244::1"}, got); d != "" {
		t.Error(d)
	}
	if got := Gateways(t.TempDir()); len(got) > 0 {
		t.Errorf("without tables: %v", got)
	}
}

func TestParseRoute6(t *testing.T) {
	const zero = "00000000000000000000000000000000"
	line := func(dest, length, hop, flags string) string {
		return strings.Join([]string{dest, length, zero, "00", hop, "00000400", "00000001", "00000000", flags, "eth0\n"}, " ")
	}
	hop := "fd" + zero[2:31] + "1"
	tests := []struct {
		name, text string
		want       []netip.Addr
		err        string
	}{
		{"default", line(zero, "00", hop, "00000003"), []netip.Addr{netip.MustParseAddr("fd00::1")}, ""},
		{"twice", strings.Repeat(line(zero, "00", hop, "00000003"), 2), []netip.Addr{netip.MustParseAddr("fd00::1")}, ""},
		{"unreachable", line(zero, "00", zero, "00200200"), nil, ""},
		{"no default", line(zero, "40", hop, "00000003"), nil, ""},
		{"few fields", zero + " 00\n", nil, "line 1 has 2 fields"},
		{"bad flags", line(zero, "00", hop, "x"), nil, `flags "x"`},
		{"bad hop", line(zero, "00", "fd", "00000003"), nil, `next hop "fd"`},
		{"second line", line(zero, "00", hop, "00000003") + "x\n", []netip.Addr{netip.MustParseAddr("fd00::1")}, "line 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseRoute6(strings.NewReader(tt.text))
			if len(got) != len(tt.want) || len(got) > 0 && got[0] != tt.want[0] {
				t.Errorf("%v, want %v", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func FuzzParseRoute6(f *testing.F) {
	f.Add(readTestdata(f, "linux-6.18/net/ipv6_route"))
	f.Fuzz(func(t *testing.T, text []byte) {
		gateways, _ := parseRoute6(bytes.NewReader(text))
		for _, a := range gateways {
			if !a.Is6() || a.IsUnspecified() {
				t.Errorf("gateway %v", a)
			}
		}
	})
}
