package procnet

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxUnseen bounds how many sockets of a kind Unseen names.
const maxUnseen = 8

// Unseen lists what can bring requests to the pod without showing among its TCP sockets, as far as
// /proc tells: sockets of UDP, unix sockets that somebody listens on, SMC, and a kernel that hides
// what waits to be accepted. What it cannot tell: a sockmap, by which an eBPF program passes data
// from socket to socket (it keeps the connections in view, but not always the requests on them).
func Unseen(procRoot string) []string {
	var lines []string
	if text, err := os.ReadFile(filepath.Join(procRoot, "version")); err == nil && isGVisor(text) {
		lines = append(lines, "gVisor: connections that wait in an accept queue are invisible here: use --min where the app may be slow to accept")
	}
	var udp []uint16
	for _, name := range []string{"udp", "udp6"} {
		readTable(procRoot, name, func(r io.Reader) { udp = append(udp, boundUDP(r)...) })
	}
	slices.Sort(udp)
	udp = slices.Compact(udp)
	var ports []string
	for _, p := range udp {
		ports = append(ports, fmt.Sprintf(":%d", p))
	}
	if len(ports) > 0 {
		lines = append(lines, "UDP on "+some(ports)+": what comes there is not seen (DNS, QUIC): use --min")
	}
	var unix []string
	readTable(procRoot, "unix", func(r io.Reader) { unix = listeningUnix(r) })
	if len(unix) > 0 {
		lines = append(lines, "unix sockets that somebody listens on ("+some(unix)+"): what comes there is not seen; a proxy before it must have the hook")
	}
	smc := false
	readTable(procRoot, "protocols", func(r io.Reader) { smc = usesSMC(r) })
	if smc {
		lines = append(lines, "SMC: data of its connections passes TCP by, so requests on them are not seen")
	}
	return lines
}

// some lists the first few.
func some(names []string) string {
	if n := len(names) - maxUnseen; n > 0 {
		return strings.Join(names[:maxUnseen], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ")
}

// readTable reads at most 16 MiB of a file of /proc/net, if it can be read.
func readTable(procRoot, name string, read func(io.Reader)) {
	f, err := os.Open(filepath.Join(procRoot, "net", name))
	if err != nil {
		return
	}
	defer f.Close()
	read(io.LimitReader(f, 16<<20))
}

// isGVisor knows the sandbox by what it has for a kernel's version (google/gvisor,
// pkg/sentry/fsimpl/proc, and pkg/abi/linux for the text).
func isGVisor(version []byte) bool {
	return bytes.Contains(version, []byte("gvisor")) || bytes.Contains(version, []byte("Sun Jan 10 15:06:54 PST 2016"))
}

// firstEphemeral is where the ports begin that the kernel gives to clients
// (ip_local_port_range in Documentation/networking/ip-sysctl.rst).
const firstEphemeral = 32768

// boundUDP returns the local ports of sockets that are bound, connected to nobody, not on loopback
// and no client's (net/ipv4/udp.c, udp4_format_sock, which prints addresses as TCP's tables do).
func boundUDP(r io.Reader) (ports []uint16) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 3 || !strings.HasSuffix(f[2], ":0000") {
			continue
		}
		local, ok := endpoint([]byte(f[1]))
		if n := local.Port(); ok && n != 0 && n < firstEphemeral && !local.Addr().IsLoopback() && len(ports) < 1<<16 {
			ports = append(ports, n)
		}
	}
	return ports
}

// listeningUnix returns the names of stream sockets that accept connections (net/unix/af_unix.c,
// unix_seq_show: Num RefCount Protocol Flags Type St Inode Path).
func listeningUnix(r io.Reader) (names []string) {
	const acceptsConnections = 1 << 16 // __SO_ACCEPTCON
	lines := bufio.NewScanner(r)
	for lines.Scan() && len(names) < 1<<10 {
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			continue
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		if err == nil && flags&acceptsConnections != 0 {
			names = append(names, strconv.QuoteToASCII(f[7][:min(len(f[7]), 108)]))
		}
	}
	return names
}

// usesSMC reports whether there is a socket of SMC (net/core/sock.c, proto_seq_printf: the name,
// the size, how many sockets).
func usesSMC(r io.Reader) bool {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) > 2 && strings.HasPrefix(f[0], "SMC") && f[2] != "0" && f[2] != "-1" {
			return true
		}
	}
	return false
}
