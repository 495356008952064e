package procnet

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
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

// route4Line is a line as the kernel prints it, but for the spaces at its end.
func route4Line(dest, gateway, flags, metric, mask string) string {
	return strings.Join([]string{"eth0", dest, gateway, flags, "0", "0", metric, mask, "0", "0", "0\n"}, "\t")
}

func TestParseRoute4(t *testing.T) {
	const (
		head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
		zero = "00000000"
	)
	hex := func(text string) string {
		a := netip.MustParseAddr(text).As4()
		return fmt.Sprintf("%08X", native.Uint32(a[:]))
	}
	line := func(gateway string) string { return route4Line(zero, hex(gateway), "0003", "0", zero) }
	var many strings.Builder
	for i := range maxGateways + 1 {
		many.WriteString(line(fmt.Sprintf("10.0.%d.1", i)))
	}
	tests := []struct {
		name, text string
		want       []string
	}{
		{"default", line("10.0.0.1"), []string{"10.0.0.1"}},
		{"twice", line("10.0.0.1") + line("10.0.0.1"), []string{"10.0.0.1"}},
		{"two", line("10.0.0.1") + line("10.0.0.2"), []string{"10.0.0.1", "10.0.0.2"}},
		{"a metric above 2^31", route4Line(zero, hex("10.0.0.1"), "0003", "-16769024", zero), []string{"10.0.0.1"}},
		{"the same on another route", line("10.0.0.1") + route4Line("0000FEA9", zero, "0001", "-16769024", "0000FFFF"), []string{"10.0.0.1"}},
		{"unreachable", route4Line(zero, zero, "0200", "0", zero), nil},
		{"down", route4Line(zero, hex("10.0.0.1"), "0002", "0", zero), nil},
		{"no gateway", route4Line(zero, zero, "0001", "0", zero), nil},
		{"a destination", route4Line(hex("10.1.0.0"), hex("10.0.0.1"), "0003", "0", hex("255.255.0.0")), nil},
		{"half of all addresses", route4Line(zero, hex("10.0.0.1"), "0003", "0", hex("128.0.0.0")), nil},
		{"few fields", "eth0\t00000000\n" + line("10.0.0.1"), []string{"10.0.0.1"}},
		{"bad gateway", route4Line(zero, "x", "0003", "0", zero) + line("10.0.0.1"), []string{"10.0.0.1"}},
		{"gateway too long", route4Line(zero, "100000001", "0003", "0", zero) + line("10.0.0.1"), []string{"10.0.0.1"}},
		{"bad flags", route4Line(zero, hex("10.0.0.2"), "x", "0", zero) + line("10.0.0.1"), []string{"10.0.0.1"}},
		{"bad mask", route4Line(zero, hex("10.0.0.2"), "0003", "0", "x") + line("10.0.0.1"), []string{"10.0.0.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, a := range gatewaysIn(strings.NewReader(head+tt.text), route4) {
				got = append(got, a.String())
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	if got := gatewaysIn(strings.NewReader(many.String()), route4); len(got) != maxGateways {
		t.Errorf("%d gateways, want %d", len(got), maxGateways)
	}
}

func FuzzParseRoute4(f *testing.F) {
	f.Add(readTestdata(f, "linux-6.18/net/route"))
	f.Add([]byte(route4Line("00000000", "0101A8C0", "0003", "-16769024", "00000000")))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, a := range gatewaysIn(bytes.NewReader(text), route4) {
			if !a.Is4() || a.IsUnspecified() {
				t.Errorf("gateway %v", a)
			}
		}
	})
}

func TestParseRoute6(t *testing.T) {
	const zero = "00000000000000000000000000000000"
	line := func(dest, length, hop, flags string) string {
		return strings.Join([]string{dest, length, zero, "00", hop, "00000400", "00000001", "00000000", flags, "eth0\n"}, " ")
	}
	hop, one := "fd"+zero[2:31]+"1", netip.MustParseAddr("fd00::1")
	tests := []struct {
		name, text string
		want       []netip.Addr
	}{
		{"default", line(zero, "00", hop, "00000003"), []netip.Addr{one}},
		{"twice", strings.Repeat(line(zero, "00", hop, "00000003"), 2), []netip.Addr{one}},
		{"unreachable", line(zero, "00", zero, "00200200"), nil},
		{"no default", line(zero, "40", hop, "00000003"), nil},
		{"few fields", zero + " 00\n" + line(zero, "00", hop, "00000003"), []netip.Addr{one}},
		{"bad flags", line(zero, "00", hop, "x") + line(zero, "00", hop, "00000003"), []netip.Addr{one}},
		{"bad hop", line(zero, "00", "fd", "00000003") + line(zero, "00", hop, "00000003"), []netip.Addr{one}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := gatewaysIn(strings.NewReader(tt.text), route6); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzParseRoute6(f *testing.F) {
	f.Add(readTestdata(f, "linux-6.18/net/ipv6_route"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, a := range gatewaysIn(bytes.NewReader(text), route6) {
			if !a.Is6() || a.IsUnspecified() {
				t.Errorf("gateway %v", a)
			}
		}
	})
}
