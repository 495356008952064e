package wait

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxConns bounds the new connections of one look that are told apart.
	// Whoever has more has no lull.
	maxConns = 4096
	// maxGroups bounds the groups of requests of one look, and the addresses
	// that ignored arrivals are counted by.
	maxGroups = 1024
)

// window is the quiet window: it knows until when the arrivals so far hold the
// exit. A new connection does so for quiet; so does a request, but no longer
// than until its connection is pinned.
type window struct {
	quiet, keepalive time.Duration
	ignore           []netip.Prefix
	probes           *probes

	client  Arrival // newest that counts for quiet and is no probe's
	request Arrival // newest that counted when it came
	until   time.Time
	pinned  int
	ignored map[netip.Addr]int
}

func newWindow(p Policy) window {
	return window{
		quiet: p.Quiet, keepalive: p.KeepaliveWait, ignore: p.Ignore,
		probes: newProbes(p.NodeAddrs, p.InPod), ignored: map[netip.Addr]int{},
	}
}

// hold is when the window closes if nothing more arrives; zero if nothing has.
func (w *window) hold() time.Time {
	return latest(w.until, added(w.client.At, w.quiet), added(w.probes.newest().At, w.quiet))
}

// added is t+d, and zero for zero.
func added(t time.Time, d time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(d)
}

// last is the newest arrival that counted.
func (w *window) last() Arrival {
	return newer(newer(w.client, w.request), w.probes.newest())
}

func newer(a, b Arrival) Arrival {
	if b.At.After(a.At) {
		return b
	}
	return a
}

// batch is what one look found, in bounded room whatever the number of sockets.
type batch struct {
	// conns are new connections, and requests on connections that may be
	// probes, each by itself because the probes' rhythm is in them.
	conns []Arrival
	// fresh are the connections among these: a look may see one begin and, when
	// it ends a moment later, a request on it.
	fresh map[uint64]bool
	// rest is the newest of all that no probe excuses.
	rest Arrival
	// requests are grouped by when their connections were first seen: a look
	// each, so there are few.
	requests map[time.Time]group
	ignored  map[netip.Addr]int
}

type group struct {
	newest Arrival
	count  int
}

// gather asks the sockets. It only reads the window.
func (w *window) gather(ctx context.Context, sockets Sockets, ports []uint16) (*batch, error) {
	b := &batch{fresh: map[uint64]bool{}, requests: map[time.Time]group{}, ignored: map[netip.Addr]int{}}
	err := sockets.Arrivals(ctx, ports, func(a Arrival) { w.sort(b, a) })
	if err != nil {
		return nil, err
	}
	err = sockets.Queued(ctx, ports, func(q Queue) {
		if q.Len > 0 {
			a := Arrival{At: time.Now(), Kind: Waiting, Port: q.Port, Count: int(q.Len)}
			b.rest = newer(b.rest, a)
		}
	})
	return b, err
}

// sort puts an arrival where it belongs.
func (w *window) sort(b *batch, a Arrival) {
	switch {
	case w.ignores(a.Peer.Addr()):
		count(b.ignored, a.Peer.Addr(), max(1, a.Count))
	case len(b.conns) < maxConns && (a.Kind == Connection || a.Kind == Request && (b.fresh[a.Conn] || w.probes.owns(a))):
		b.conns = append(b.conns, a)
		if a.Kind == Connection && a.Conn != 0 {
			b.fresh[a.Conn] = true
		}
	case a.Kind == Request:
		g, ok := b.requests[a.Opened]
		if !ok && len(b.requests) >= maxGroups {
			b.rest = newer(b.rest, a)
			return
		}
		g.newest = newer(g.newest, a)
		g.count += max(1, a.Count)
		b.requests[a.Opened] = g
	default:
		b.rest = newer(b.rest, a)
	}
}

// count counts by address as long as there is room, then for nobody by name.
func count(by map[netip.Addr]int, from netip.Addr, n int) {
	if _, ok := by[from]; !ok && len(by) >= maxGroups {
		from = netip.Addr{}
	}
	by[from] += n
}

func (w *window) ignores(addr netip.Addr) bool {
	return slices.ContainsFunc(w.ignore, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// absorb takes a look's findings in. left is when the pod left rotation, zero
// if it hasn't: whatever arrived before then is outlasted by the window itself.
func (w *window) absorb(b *batch, left time.Time) {
	slices.SortStableFunc(b.conns, func(x, y Arrival) int { return x.came().Compare(y.came()) })
	for _, a := range b.conns {
		if !w.probes.excuse(a) {
			w.client = newer(w.client, a)
		}
	}
	w.client = newer(w.client, b.rest)
	w.pinned = 0
	for opened, g := range b.requests {
		pin := latest(left, opened).Add(w.keepalive)
		hold := g.newest.At.Add(w.quiet)
		if hold.After(pin) {
			hold = pin
			w.pinned += g.count
		}
		w.until = latest(w.until, hold)
		if g.newest.At.Before(pin) {
			w.request = newer(w.request, g.newest)
		}
	}
	for from, n := range b.ignored {
		count(w.ignored, from, n)
	}
}
