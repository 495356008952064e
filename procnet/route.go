package procnet

import (
	"bufio"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	maxRoutes   = 100_000 // limits how many lines of a routing table are read
	maxGateways = 64      // limits how many gateways are taken from it
)

// Flags of a route, linux/route.h.
const (
	routeUp      = 0x1 // RTF_UP
	routeGateway = 0x2 // RTF_GATEWAY
)

// Gateways returns the default gateways of the network namespace, IPv4 first.
// With a bridge CNI that is the node as the pod sees it, and where the kubelet's
// probes come from. What cannot be read is left out: nothing depends on it.
func Gateways(procRoot string) (list []netip.Addr) {
	for _, table := range []struct {
		name    string
		gateway func(fields []string) (netip.Addr, bool)
	}{{"route", route4}, {"ipv6_route", route6}} {
		f, err := os.Open(filepath.Join(procRoot, "net", table.name))
		if err != nil {
			continue
		}
		list = append(list, gatewaysIn(f, table.gateway)...)
		f.Close()
	}
	return list
}

// gatewaysIn returns the default gateways in a table, of which gateway reads a line. One line that
// cannot be read says nothing about the others.
func gatewaysIn(r io.Reader, gateway func(fields []string) (netip.Addr, bool)) (list []netip.Addr) {
	lines := bufio.NewScanner(r)
	for n := 0; n < maxRoutes && len(list) < maxGateways && lines.Scan(); n++ {
		a, ok := gateway(strings.Fields(lines.Text()))
		if ok && !a.IsUnspecified() && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// route4 reads a line as fib_route_seq_show prints it (net/ipv4/fib_trie.c): the device's name,
// destination and gateway in hexadecimal, the flags likewise, reference count, use and metric in
// decimal, the mask in hexadecimal, and more. The metric is printed as if it had a sign. The first
// line has the columns' names.
func route4(f []string) (gateway netip.Addr, ok bool) {
	if len(f) < 8 || !isDefault(f[1], f[7], f[3]) {
		return gateway, false
	}
	n, err := strconv.ParseUint(f[2], 16, 32)
	// The kernel prints the address, which is in network order, as a number.
	var b [4]byte
	native.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b), err == nil
}

// route6 reads a line as ipv6_route_native_seq_show prints it (net/ipv6/ip6_fib.c): destination,
// prefix length, source, prefix length, next hop, metric, reference count, use and flags in
// hexadecimal, and the device's name.
func route6(f []string) (gateway netip.Addr, ok bool) {
	if len(f) < 10 || !isDefault(f[0], f[1], f[8]) {
		return gateway, false
	}
	b, err := hex.DecodeString(f[4])
	if err != nil || len(b) != 16 {
		return gateway, false
	}
	return netip.AddrFrom16([16]byte(b)), true
}

// isDefault reports whether a route to such a destination, with a mask or a prefix length, is a
// default route that is up and leads to a gateway.
func isDefault(dest, mask, flags string) bool {
	const wanted = routeUp | routeGateway
	n, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && n&wanted == wanted && strings.Trim(dest+mask, "0") == ""
}
