package procnet

import (
	"context"
	"net/netip"
	"time"
)

// What is news of a row in a dump, of a destroy event, and of what neither has shown.

// yieldConnection yields what a row of the dump shows that is news.
func (s *netlinkSource) yieldConnection(r *row, yield func(Arrival)) {
	now := s.now()
	switch {
	case r.timer == timerTimeWait: // in FIN_WAIT2; its destroy event has told all
		return
	case r.state == stateSynRecv && !r.hasAge:
		// It becomes a connection, with the same cookie, or nothing at all (inet_csk_clone_lock
		// in net/ipv4/inet_connection_sock.c).
		if before, ok := s.known.get(r.cookie); ok && s.known.marked(before) {
			return // repeated, and complete by now
		}
		if _, ok := s.known.mark(r.cookie, now, r.sport, halfOpen, 0); !ok {
			yield(s.arrival(Connection, now, r.cookie, r.sport, r.peer()))
		}
		return
	}
	is := live
	if r.waits() {
		is |= waits
	}
	at := arrived(r, now)
	if r.answered() {
		is |= answered
	}
	before, ok := s.known.mark(r.cookie, now, r.sport, is, r.volume())
	if ok && s.known.marked(before) && !before.halfOpen() {
		return // repeated
	}
	s.yieldOpen(r, before, ok)
	isNew := !ok || before.halfOpen()
	s.accepts.see(r.sport, before, !isNew, r.waits())
	if isNew {
		s.opens.seen++
		s.yieldNew(r, at, begunBy(r, now), yield)
		return
	}
	if before.waited() && !r.waits() && s.accepts.waits(r.sport) {
		at = max(at, s.acceptedBy(r, before, now))
	}
	if at >= s.shown(before) {
		yield(s.request(before, at, r.cookie, r.sport, r.peer()))
	}
}

// yieldOpen yields a connection that neither side has closed, or the client alone. before is
// what was known of it: a second dump of the same look passes over what the first has shown.
func (s *netlinkSource) yieldOpen(r *row, before sighting, known bool) {
	if s.open == nil || r.state != stateEstablished && r.state != stateCloseWait || s.again && known && s.known.ago(before) <= 1 {
		return
	}
	opened := s.now()
	if known && !before.halfOpen() {
		opened = before.firstSeen()
	}
	s.open(Conn{ID: r.cookie, Opened: s.base.Add(opened), Port: r.sport, Peer: r.peer()})
}

// acceptedBy is when a connection that was seen waiting had been accepted at the latest: now,
// or if the app has sent something since, then.
func (s *netlinkSource) acceptedBy(r *row, before sighting, now time.Duration) time.Duration {
	if sent := now - r.sent; r.hasAge && sent-clockStep > s.shown(before) {
		return min(now, sent+clockStep)
	}
	return now
}

// yieldNew yields a new connection. If the app may have begun with it much later than it came, the
// start of that is a request, so that a probe is still dated by when it came.
func (s *netlinkSource) yieldNew(r *row, at, begun time.Duration, yield func(Arrival)) {
	if begun <= at+openedStep {
		yield(s.arrival(Connection, max(at, begun), r.cookie, r.sport, r.peer()))
		return
	}
	yield(s.arrival(Connection, at, r.cookie, r.sport, r.peer()))
	a := s.arrival(Request, begun, r.cookie, r.sport, r.peer())
	a.Opened = s.base.Add(at)
	yield(a)
}

// begunBy is when the app had begun with a new connection's request at the latest: when it last
// sent something, or now if it has not answered. The connection may have waited in the accept queue
// until then, and when it was accepted the kernel does not tell. Without a request there is nothing
// to begin with: 0.
func begunBy(r *row, now time.Duration) time.Duration {
	switch {
	case r.waits() || r.received == 0:
		return 0
	case r.acked == 0:
		return now
	}
	return min(now, now-r.sent+clockStep)
}

// yieldEnded yields what the destroy events tell that is news.
func (s *netlinkSource) yieldEnded(ports *portSet, yield func(Arrival)) error {
	ended, err := s.ends.drain(s.spare)
	for _, d := range ended.list {
		if ports.has(d.port) {
			s.yieldEnd(d, yield)
		}
	}
	s.spare = ended.list
	for o, m := range ended.merged {
		if ports.has(o.port) {
			s.lost = true
			yield(Arrival{At: s.base.Add(m.at), Kind: Lost, Port: o.port, Peer: o.addr(), Count: m.count})
		}
	}
	if s.lost || ended.lost {
		s.accepts.unknown()
	}
	if ended.lost {
		s.lost = true
		yield(Arrival{At: s.base.Add(ended.lostAt), Kind: Lost, Count: 1})
	}
	return err
}

// yieldEnd yields what a destroy event tells. If a dump has shown the connection, the
// event is news only if data came after that dump began.
func (s *netlinkSource) yieldEnd(d destroyed, yield func(Arrival)) {
	before, known := s.known.get(d.cookie)
	known = known && !before.halfOpen()
	s.accepts.see(d.port, before, known, false)
	switch {
	case !known:
		s.opens.seen++
		yield(s.arrival(Connection, d.at, d.cookie, d.port, d.addr()))
	case d.hasVolume && before.answered() && isGoodbye(before.volume, d.volume):
	case d.at >= s.shown(before):
		yield(s.request(before, d.at, d.cookie, d.port, d.addr()))
	}
	s.known.forget(d.cookie)
}

// yieldUntraced yields how many connections have left no trace but the kernel's count of
// them. When they came is not known, but it was before now.
func (s *netlinkSource) yieldUntraced(ctx context.Context, watched *portSet, yield func(Arrival)) error {
	s.opens.recordListeners(s.listeners.queues, watched)
	// They may have ended, and their events be still on the way.
	for waited := time.Duration(0); waited < veryLateEvents && s.opens.untraced() > 0 && !s.lost; waited += lateEvents {
		if err := sleep(ctx, lateEvents); err != nil {
			return err
		}
		if err := s.yieldEnded(watched, yield); err != nil {
			return err
		}
	}
	if n := s.opens.untraced(); n > 0 && !s.lost {
		s.accepts.comeUnseen(n)
		yield(Arrival{At: s.base.Add(s.now()), Kind: Lost, Count: clamp(n)})
	}
	s.opens.end(s.lost, s.listeners.queues, watched)
	return nil
}

// yieldVanished yields the known connections that neither a dump nor an event has shown, for data
// may have come on them. Either their client has reset them while the app does not look: then they
// are in no table until it closes them. Or the kernel had no memory to report the end.
func (s *netlinkSource) yieldVanished(watched *portSet, yield func(Arrival)) {
	if s.lost {
		return // that has been reported
	}
	now := s.now()
	for cookie, c := range s.known.missed(watched) {
		yield(s.request(c, now, cookie, c.port, netip.AddrPort{}))
	}
}

// yieldDropped yields the connections that were turned away.
func (s *netlinkSource) yieldDropped(ports *portSet, yield func(Arrival)) {
	for port, n := range s.listeners.dropped {
		if port == 0 || ports.has(port) {
			yield(Arrival{At: s.base.Add(s.now()), Kind: Dropped, Port: port, Count: clamp(n)})
		}
	}
	clear(s.listeners.dropped)
}

// shown is when the dump began that last showed a connection.
func (s *netlinkSource) shown(c sighting) time.Duration {
	if ago := s.known.ago(c); ago < len(s.began) {
		return s.began[ago]
	}
	return 0
}

func (s *netlinkSource) arrival(kind Kind, at time.Duration, cookie uint64, port uint16, peer netip.AddrPort) Arrival {
	t := s.base.Add(at)
	return Arrival{At: t, Kind: kind, Conn: cookie, Opened: t, Port: port, Peer: peer, Count: 1}
}

func (s *netlinkSource) request(before sighting, at time.Duration, cookie uint64, port uint16, peer netip.AddrPort) Arrival {
	a := s.arrival(Request, at, cookie, port, peer)
	a.Opened = s.base.Add(before.firstSeen())
	return a
}
