package procnet

import "time"

// settle is how long a segment may have been counted before its socket knows of
// it: the count comes first (tcp_v4_rcv in net/ipv4/tcp_ipv4.c), and a socket
// that its owner has locked takes the segment from a backlog later.
const settle = 50 * time.Millisecond

// gate saves dumps. InSegs counts every TCP segment that reaches the namespace,
// IPv4, IPv6 and loopback: while it stands still since before the last dump,
// another would show nothing new.
//
// A dump shuts the gate only if InSegs had stood still before it, too, so after
// traffic it takes two looks. The first dump is spared that: what was counted
// before it is no news.
type gate struct {
	file  *counterFile // nil: there is no such counter, the gate stays open
	value [1]uint64
	segs  uint64
	since time.Duration // when segs was first read
	read  bool          // segs is known
	moved bool          // it has changed since it was first read, or may have
	still bool          // nothing has come that the last dump may not have shown
}

func (g *gate) open(procRoot string) {
	// /proc mounted with subset=pid has no /proc/net; then every look dumps.
	g.file, _ = openCounters(procRoot, "snmp", "Tcp:", "InSegs")
}

func (g *gate) Close() error {
	if g.file == nil {
		return nil
	}
	return g.file.Close()
}

// shut reports, at now, whether a dump would show nothing new. It must be asked
// before the first dump of each look; what comes after that moves InSegs for the
// next look.
func (g *gate) shut(now time.Duration) bool {
	if g.file == nil {
		return false
	}
	found, err := g.file.read(g.value[:])
	if err != nil || found == 0 {
		g.moved, g.read, g.still = true, false, false
		return false
	}
	if !g.read || g.value[0] != g.segs {
		g.moved = g.moved || g.read
		g.segs, g.since, g.read, g.still = g.value[0], now, true, false
	}
	return g.still
}

// dumped notes that a dump which began at that time is complete. A half-open
// connection in it counts anew at each look.
func (g *gate) dumped(began time.Duration, halfOpen bool) {
	g.still = g.read && !halfOpen && (!g.moved || began-g.since >= settle)
}
