package procnet

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// maxRoutes limits how many lines of a routing table are read.
const maxRoutes = 100_000

// Flags of a route, linux/route.h.
const (
	routeUp      = 0x1 // RTF_UP
	routeGateway = 0x2 // RTF_GATEWAY
)

// Gateways returns the default gateways of the network namespace, IPv4 first.
// With a bridge CNI that is the node as the pod sees it, and where the kubelet's
// probes come from. What cannot be read is left out: nothing depends on it.
func Gateways(procRoot string) []netip.Addr {
	gateways := gateways4(procRoot)
	f, err := os.Open(filepath.Join(procRoot, "net", "ipv6_route"))
	if err != nil {
		return gateways
	}
	defer f.Close()
	six, _ := parseRoute6(f)
	return append(gateways, six...)
}

func gateways4(procRoot string) []netip.Addr {
	fs, err := procfs.NewFS(procRoot)
	if err != nil {
		return nil
	}
	routes, err := fs.NetRoute()
	if err != nil {
		return nil
	}
	var gateways []netip.Addr
	for _, r := range routes {
		const wanted = routeUp | routeGateway
		if r.Destination != 0 || r.Mask != 0 || r.Flags&wanted != wanted {
			continue
		}
		// The kernel prints the address, which is in network order, as a number.
		var b [4]byte
		native.PutUint32(b[:], r.Gateway)
		gateways = appendNew(gateways, netip.AddrFrom4(b))
	}
	return gateways
}

// parseRoute6 returns the default gateways in a table as ipv6_route_native_seq_show prints it
// (net/ipv6/ip6_fib.c): destination, prefix length, source, prefix length, next hop, metric,
// reference count, use and flags in hexadecimal, and the device's name.
func parseRoute6(r io.Reader) ([]netip.Addr, error) {
	var gateways []netip.Addr
	lines := bufio.NewScanner(r)
	for n := 1; n <= maxRoutes && lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			return gateways, fmt.Errorf("ipv6_route: line %d has %d fields, want 10", n, len(f))
		}
		flags, err := strconv.ParseUint(f[8], 16, 32)
		if err != nil {
			return gateways, fmt.Errorf("ipv6_route: line %d: flags %s", n, quote([]byte(f[8])))
		}
		const wanted = routeUp | routeGateway
		if strings.Trim(f[0], "0") != "" || f[1] != "00" || flags&wanted != wanted {
			continue
		}
		b, err := hex.DecodeString(f[4])
		if err != nil || len(b) != 16 {
			return gateways, fmt.Errorf("ipv6_route: line %d: next hop %s", n, quote([]byte(f[4])))
		}
		gateways = appendNew(gateways, netip.AddrFrom16([16]byte(b)))
	}
	return gateways, lines.Err()
}

func appendNew(list []netip.Addr, a netip.Addr) []netip.Addr {
	if a.IsUnspecified() || slices.Contains(list, a) {
		return list
	}
	return append(list, a)
}
