package wait

import (
	"context"
	"net/netip"
	"slices"
	"sort"
	"sync/atomic"
	"time"
)

const (
	// maxConns bounds the new connections of one look that are told apart. Whoever has more has no
	// lull.
	maxConns = 4096
	// maxGroups bounds the groups of requests of one look, and the addresses that ignored arrivals
	// are counted by.
	maxGroups = 1024
)

// window is the quiet window: it knows until when the arrivals so far hold the exit. A new
// connection does so for quiet; so does a request, but no longer than until its connection is
// pinned. So hold is never earlier than quiet after last, unless what came last was on a connection
// that was pinned by then.
type window struct {
	quiet, keepalive time.Duration
	ignore           []netip.Prefix
	probes           *probes

	client  Arrival   // newest that is no request and no probe's
	request Arrival   // newest that counted when it came
	until   time.Time // how long the requests hold
	ignored map[netip.Addr]int

	waiting map[uint16]Arrival // in the accept queues at the last look
	stuck   map[uint16]Arrival // at ports where the app accepts nothing
	callers callers
	inUse   inUse

	countsOpen bool      // somebody wants to know how many connections are open
	settled    time.Time // since when the end of all open connections is waited for; zero if it isn't
	open       int       // connections at the last look that listed them
	openOld    int       // of these, the ones that were open when the app was asked to let go
	// own is the connection that asks. It may be made during a look.
	own      atomic.Pointer[own]
	draining draining
	firsts   firsts
}

func newWindow(p Policy) window {
	return window{
		quiet: p.Quiet, keepalive: p.KeepaliveWait, ignore: p.Ignore,
		probes: newProbes(p.NodeAddrs, p.InPod), ignored: map[netip.Addr]int{},
		callers: callers{}, inUse: inUse{}, firsts: firsts{}, countsOpen: p.MaxOpen != nil || p.Drain != nil,
	}
}

// hold is when the window closes if nothing more arrives; zero if nothing has.
func (w *window) hold() time.Time {
	return latest(w.clientsHold(), added(w.probes.schedule.newest().At, w.quiet))
}

// clientsHold is hold without what has followed a probe and may be its. What waits in a queue holds
// until it is due to be stuck, and then it is looked at.
func (w *window) clientsHold() time.Time {
	last := newer(newer(w.client, w.probes.rhythm.newest()), w.probes.schedule.newestClient())
	hold := latest(w.until, added(last.At, w.quiet))
	for _, a := range w.waiting {
		since := a.At
		if !a.Since.IsZero() {
			since = a.Since
		}
		hold = latest(hold, since.Add(w.quiet))
	}
	return hold
}

// last is the newest arrival that counted.
func (w *window) last() Arrival {
	last := newer(newer(w.client, w.request), w.probes.newest())
	for _, a := range w.waiting {
		last = newer(last, a)
	}
	return last
}

// added is t+d, and zero for zero.
func added(t time.Time, d time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(d)
}

func newer(a, b Arrival) Arrival {
	if b.At.After(a.At) {
		return b
	}
	return a
}

// findings are what one look found, in bounded room whatever the number of sockets.
type findings struct {
	// single are new connections, and requests on connections that may be probes, each by itself
	// because the probes' rhythm is in them.
	single []Arrival
	// begun are the connections among these: a look may see one begin and, when it ends a moment
	// later, a request on it.
	begun map[uint64]bool
	// rest are the others by address and kind, and the newest of each.
	rest map[callerPort]group
	// requests are grouped by when their connections were first seen: a look each, so there are
	// few.
	requests map[time.Time]group
	named    int       // connections that these name
	waiting  []Arrival // in accept queues, one a port
	listed   bool      // the source has listed every open connection
	open     int
	openOld  int      // of these, the ones from before the app was asked to let go
	openNew  []uint64 // and some of the others: they may be a probe's
	ignored  map[netip.Addr]int
}

// callerPort is whom arrivals are grouped by, and for those that were turned away the port: the app
// may accept nothing on one, and something on another.
type callerPort struct {
	caller
	port uint16
}

// group is several arrivals as one.
type group struct {
	newest Arrival
	count  int
	conns  map[uint64]use // the connections, of requests, as long as there is room
}

// add returns the group with another arrival.
func (g group) add(a Arrival) group {
	g.newest = newer(g.newest, a)
	g.count += a.Count
	return g
}

// gather asks the sockets. It only reads the window, but for its own connection.
func (w *window) gather(ctx context.Context, sockets Sockets, ports []uint16) (*findings, error) {
	f := &findings{begun: map[uint64]bool{}, rest: map[callerPort]group{}, requests: map[time.Time]group{}, ignored: map[netip.Addr]int{}}
	var err error
	var open func(Conn)
	if w.countsOpen {
		open = func(c Conn) { w.addOpen(f, c) }
	}
	f.listed, err = sockets.Arrivals(ctx, ports, func(a Arrival) { w.sort(f, a) }, open)
	return f, err
}

// sort puts an arrival where it belongs.
func (w *window) sort(f *findings, a Arrival) {
	switch {
	case w.own.Load().claim(a):
	case w.ignores(a.Peer.Addr()):
		tallyUp(f.ignored, a.Peer.Addr(), a.Count)
	case len(f.single) < maxConns && (a.Kind == Connection || a.Kind == Request && (f.begun[a.Conn] || w.probes.conns.owns(a))):
		f.single = append(f.single, a)
		if a.Kind == Connection && a.Conn != 0 {
			f.begun[a.Conn] = true
		}
	case a.Kind == Waiting:
		if len(f.waiting) < maxGroups {
			f.waiting = append(f.waiting, a)
		}
	case a.Kind == Request && (len(f.requests) < maxGroups || f.requests[a.Opened].count > 0):
		f.addRequest(a)
	default:
		who := callerPort{caller: caller{a.Peer.Addr(), a.Kind}}
		if a.Kind == Dropped {
			who.port = a.Port
		}
		if _, ok := f.rest[who]; !ok && len(f.rest) >= maxGroups {
			who.from = netip.Addr{}
		}
		f.rest[who] = f.rest[who].add(a)
	}
}

// addOpen counts an open connection. One from before the app was asked to let go is no probe's.
func (w *window) addOpen(f *findings, c Conn) {
	if w.ignores(c.Peer.Addr()) || w.own.Load().isConn(c) {
		return
	}
	f.open++
	switch {
	case !w.draining.at.IsZero() && !c.Opened.After(w.draining.at):
		f.openOld++
	case len(f.openNew) < maxConns:
		f.openNew = append(f.openNew, c.ID)
	}
}

// addRequest puts a request to those on connections of the same age.
func (f *findings) addRequest(a Arrival) {
	g := f.requests[a.Opened].add(a)
	if a.Conn != 0 && f.named < maxConns {
		if g.conns == nil {
			g.conns = map[uint64]use{}
		}
		g.conns[a.Conn] = use{a.Peer.Addr(), a.At}
		f.named++
	}
	f.requests[a.Opened] = g
}

// tallyUp counts by address as long as there is room, then for nobody by name.
func tallyUp(by map[netip.Addr]int, from netip.Addr, n int) {
	if _, ok := by[from]; !ok && len(by) >= maxGroups {
		from = netip.Addr{}
	}
	by[from] += n
}

func (w *window) ignores(addr netip.Addr) bool {
	return slices.ContainsFunc(w.ignore, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// absorb takes a look's findings in. left is when the pod left rotation, zero if it hasn't: the
// window begins then, so that earlier arrivals are outlasted anyway.
func (w *window) absorb(f *findings, left time.Time) {
	w.absorbWaiting(f.waiting)
	sort.SliceStable(f.single, func(i, j int) bool { return f.single[i].came().Before(f.single[j].came()) })
	for _, a := range f.single {
		whose := w.probes.record(a)
		if whose == ByProbe || a.Kind == Connection && a.Port != 0 && w.isStuck(a.Port) {
			continue
		}
		if whose == ByClient {
			w.begin(a)
			w.client = newer(w.client, a)
		}
		w.callers.record(a.Peer.Addr(), a.Kind, a.At, a.Count)
	}
	for who, g := range f.rest {
		if who.kind == Dropped && w.isStuck(who.port) {
			continue
		}
		w.client = newer(w.client, g.newest)
		w.callers.record(who.from, who.kind, g.newest.At, g.count)
	}
	for opened, g := range f.requests {
		if !w.settled.IsZero() && !opened.After(w.settled) {
			continue // the end of the connection itself is waited for
		}
		if g = w.absorbFirsts(g); g.count > 0 {
			w.absorbRequests(g, latest(left, opened).Add(w.keepalive))
		}
	}
	if f.listed {
		w.open, w.openOld = f.open, f.openOld
		for _, conn := range f.openNew {
			if w.probes.conns.has(conn) {
				w.open--
			}
		}
	}
	for from, n := range f.ignored {
		tallyUp(w.ignored, from, n)
	}
}

// absorbWaiting takes in what waits in accept queues. It holds the exit, but not at a port where
// the app has accepted nothing for a whole window: nobody is served by waiting there. What no
// longer waits has been accepted since it was last seen.
func (w *window) absorbWaiting(waiting []Arrival) {
	was := w.waiting
	w.waiting, w.stuck = map[uint16]Arrival{}, map[uint16]Arrival{}
	for _, a := range waiting {
		delete(was, a.Port)
		if !a.Since.IsZero() && a.At.Sub(a.Since) >= w.quiet {
			w.stuck[a.Port] = a
			continue
		}
		w.waiting[a.Port] = a
		w.callers.record(netip.Addr{}, Waiting, a.At, a.Count)
	}
	for _, a := range was {
		w.client = newer(w.client, a)
	}
}

// isStuck reports whether the app accepts nothing on the port: what comes there is lost in any
// case. 0 is a port that the source does not know: then no other port may have a queue.
func (w *window) isStuck(port uint16) bool {
	if port == 0 {
		return len(w.stuck) > 0 && len(w.waiting) == 0
	}
	_, stuck := w.stuck[port]
	return stuck
}

// absorbRequests takes in requests on connections that are pinned from a time on.
func (w *window) absorbRequests(g group, pin time.Time) {
	hold := g.newest.At.Add(w.quiet)
	if hold.After(pin) {
		hold = pin
		for conn, use := range g.conns {
			w.inUse.record(conn, use)
		}
	}
	w.until = latest(w.until, hold)
	if g.newest.At.Before(pin) {
		w.request = newer(w.request, g.newest)
		by := map[netip.Addr]int{{}: max(0, g.count-len(g.conns))}
		for _, use := range g.conns {
			by[use.from]++
		}
		for from, n := range by {
			if n > 0 {
				w.callers.record(from, Request, g.newest.At, n)
			}
		}
	}
}
