package wait

import (
	"net/netip"
	"time"
)

// Once the app was asked to let its clients go, the first request on each connection counts like a
// new connection: its answer is the first that can tell the client to go. A router with many pooled
// connections and few requests uses up one of them with each, and opens none for as long as that
// takes, with 64 of them and a request a second a minute. From its first request on a connection
// counts for KeepaliveWait.

// firsts are the connections that had a request since the app was asked, or began since then, and
// when that was.
type firsts map[uint64]time.Time

// maxFirsts bounds them. What is beyond is reckoned as if the app had not been asked.
const maxFirsts = 4096

// begin takes in a connection that has begun, if the app was asked before.
func (w *window) begin(a Arrival) {
	if a.Kind == Connection && a.Conn != 0 && w.sinceDrain(a.At) && len(w.firsts) < maxFirsts {
		w.firsts[a.Conn] = a.At
	}
}

// sinceDrain reports whether the app had been asked to let its clients go by then.
func (w *window) sinceDrain(at time.Time) bool {
	return !w.draining.drained.IsZero() && at.After(w.draining.drained)
}

// absorbFirsts takes in the requests of a group that came after the app was asked, as far as their
// connections are known. It returns the others.
func (w *window) absorbFirsts(g group) group {
	if w.draining.drained.IsZero() {
		return g
	}
	others := group{count: g.count, conns: map[uint64]use{}}
	for conn, u := range g.conns {
		one := Arrival{At: u.last, Kind: Request, Conn: conn, Peer: netip.AddrPortFrom(u.from, 0)}
		if conn == g.newest.Conn {
			one = g.newest
		}
		first, known := w.firsts[conn]
		switch {
		case !w.sinceDrain(u.last), !known && len(w.firsts) >= maxFirsts:
			others.conns[conn] = u
			others.newest = newer(others.newest, one)
			continue
		case known:
			w.absorbRequests(group{one, 1, map[uint64]use{conn: u}}, first.Add(w.keepalive))
		default:
			w.firsts[conn] = u.last
			w.client = newer(w.client, one)
			w.callers.record(u.from, Request, u.last, 1)
		}
		others.count--
	}
	if others.count > len(others.conns) { // some are on unknown connections, maybe the newest
		others.newest = g.newest
	}
	return others
}
