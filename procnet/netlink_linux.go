package procnet

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// lateEvents is how long a look waits for the destroy events of connections
// that died before its dump. A workqueue sends them: 50 µs after the close as a
// rule, 26 ms under load.
const lateEvents = 50 * time.Millisecond

// netlinkSource is the source "netlink". Connections that die report themselves
// through the destroy groups; those that live are asked, once a look, when they
// last received data; and while the gate is shut not even that.
type netlinkSource struct {
	base   time.Time // times are counted from here
	events *subscriber

	mu        sync.Mutex // guards what follows: one call at a time
	dumper    *dumper
	listeners *listeners
	gate      gate
	known     *known

	heard   *portSet         // the ports whose events were kept since the last call; nil: all
	covered *portSet         // the ports of the last complete dump
	began   [3]time.Duration // when the newest dumps began, newest first
	lost    bool             // since the last complete look not every end was heard of
	spare   []destroyed      // room for the next events
}

func openNetlink(o options) (*netlinkSource, error) {
	base := time.Now()
	// The events come first: what dies from here on is heard of.
	events, err := subscribe(o.receiveBuffer, base)
	if err != nil {
		return nil, err
	}
	dumper, err := openDumper()
	if err != nil {
		_ = events.Close()
		return nil, err
	}
	s := &netlinkSource{
		base: base, events: events, dumper: dumper, listeners: openListeners(o.procRoot), known: newKnown(),
	}
	s.gate.open(o.procRoot)
	if err := s.start(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// start takes stock: the listeners, and the connections that are open already,
// which are no news.
func (s *netlinkSource) start() error {
	ctx := context.Background()
	if err := s.listeners.see(ctx, s.dumper); err != nil {
		return err
	}
	s.gate.shut(s.now())
	all := s.listeners.ports.all
	return s.connections(ctx, &all, func(Arrival) {})
}

func (s *netlinkSource) Name() string { return "netlink" }

func (s *netlinkSource) Close() error {
	err := s.events.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(err, s.dumper.Close(), s.listeners.Close(), s.gate.Close())
}

func (s *netlinkSource) now() time.Duration { return time.Since(s.base) }

func (s *netlinkSource) Queued(ctx context.Context, ports []uint16) ([]Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listeners.see(ctx, s.dumper); err != nil {
		return nil, err
	}
	return s.listeners.queued(s.listeners.ports.watched(ports)), nil
}

func (s *netlinkSource) Arrivals(ctx context.Context, ports []uint16, yield func(Arrival)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listeners.see(ctx, s.dumper); err != nil {
		return err
	}
	watched := s.listeners.ports.watched(ports)
	s.dropped(watched, yield)
	s.hear(ports, watched, yield)
	if err := s.died(watched, yield); err != nil {
		return err
	}
	if s.gate.shut(s.now()) && s.covered.covers(watched) {
		return ctx.Err()
	}
	if err := s.survey(ctx, watched, yield); err != nil {
		return err
	}
	// A dump goes on behind the same number of sockets of a bucket where it
	// had to stop, so it can miss one if another has left the bucket meanwhile
	// (inet_diag_dump_icsk in net/ipv4/inet_diag.c, tcp_diag_dump in
	// net/ipv4/tcp_diag.c of newer kernels): a second will hardly miss the same.
	if !s.lost && s.known.missedAny(watched) {
		if err := s.survey(ctx, watched, yield); err != nil {
			return err
		}
		s.vanished(watched, yield)
	}
	s.known.sweep(0)
	s.lost = false
	return nil
}

// vanished yields the connections that have neither been shown nor reported
// their end, for data may have come on them. Their client has reset them while
// the app does not look, and until it closes them they are in no table; or the
// kernel had no memory to report the end.
func (s *netlinkSource) vanished(watched *portSet, yield func(Arrival)) {
	if s.lost {
		return // and said so
	}
	now := s.now()
	for cookie, c := range s.known.missed(watched) {
		yield(s.request(c, now, cookie, c.port, netip.AddrPort{}))
	}
}

// survey dumps the open connections, and hears of those that died before it
// came to them.
func (s *netlinkSource) survey(ctx context.Context, watched *portSet, yield func(Arrival)) error {
	if err := s.connections(ctx, watched, yield); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(lateEvents):
	}
	return s.died(watched, yield)
}

// dropped yields who was turned away.
func (s *netlinkSource) dropped(ports *portSet, yield func(Arrival)) {
	for port, n := range s.listeners.dropped {
		if port == 0 || ports.has(port) {
			yield(Arrival{At: s.base.Add(s.now()), Kind: Dropped, Port: port, Count: int(n)})
		}
	}
	clear(s.listeners.dropped)
}

// hear says which events are wanted from now on. A port that they were not
// wanted of so far may have missed some.
func (s *netlinkSource) hear(asked []uint16, watched *portSet, yield func(Arrival)) {
	s.events.want(watched, len(asked) == 0)
	if s.heard != nil {
		for p := range watched.without(s.heard) {
			s.lost = true
			yield(Arrival{At: s.base.Add(s.now()), Kind: Lost, Port: p, Count: 1})
		}
	}
	s.heard = nil
	if len(asked) > 0 {
		s.heard = watched
	}
}

// connections dumps the open connections and yields what is news.
func (s *netlinkSource) connections(ctx context.Context, ports *portSet, yield func(Arrival)) error {
	began, halfOpen := s.now(), false
	s.known.begin()
	s.began = [3]time.Duration{began, s.began[0], s.began[1]}
	if ports.n > 0 {
		q := request{ports: ports.list(maxFilterPorts), states: openStates, attr: attrInfo}
		err := s.dumper.dump(ctx, q, func(r *row) {
			if ports.has(r.sport) && s.connection(r, yield) {
				halfOpen = true
			}
		})
		if errors.Is(err, errInterrupted) {
			yield(Arrival{At: s.base.Add(s.now()), Kind: Lost, Count: 1})
		} else if err != nil {
			return err
		}
	}
	s.covered = ports
	s.gate.dumped(began, halfOpen)
	return nil
}

// connection yields what a row of the dump tells, and reports whether it is a
// half-open connection.
func (s *netlinkSource) connection(r *row, yield func(Arrival)) (halfOpen bool) {
	now := s.now()
	switch {
	case r.timer == timerTimeWait: // in FIN_WAIT2; its destroy event has told all
		return false
	case r.state == stateSynRecv:
		// It may become a request at any moment, and isn't known before that.
		yield(s.arrival(Connection, now, r.cookie, r.sport, r.peer()))
		return true
	}
	at := arrived(r, now)
	before, ok := s.known.mark(r.cookie, now, r.sport, true)
	switch {
	case !ok:
		yield(s.arrival(Connection, at, r.cookie, r.sport, r.peer()))
	case !s.known.marked(before) && at >= s.shown(before):
		yield(s.request(before, at, r.cookie, r.sport, r.peer()))
	}
	return false
}

// died yields what the destroy events tell that is news.
func (s *netlinkSource) died(ports *portSet, yield func(Arrival)) error {
	b, err := s.events.drain(s.spare)
	for _, d := range b.list {
		if ports.has(d.port) {
			s.end(d, yield)
		}
	}
	s.spare = b.list
	for g, m := range b.merged {
		if ports.has(g.port) {
			s.lost = true
			yield(Arrival{At: s.base.Add(m.at), Kind: Lost, Port: g.port, Peer: g.addr(), Count: m.count})
		}
	}
	if b.lost {
		s.lost = true
		yield(Arrival{At: s.base.Add(b.lostAt), Kind: Lost, Count: 1})
	}
	return err
}

// end yields what a destroy event tells. Of a connection that a dump has shown
// it is news only if data came after that dump began.
func (s *netlinkSource) end(d destroyed, yield func(Arrival)) {
	before, ok := s.known.get(d.cookie)
	if !ok {
		yield(s.arrival(Connection, d.at, d.cookie, d.port, d.addr()))
		return
	}
	if d.at >= s.shown(before) {
		yield(s.request(before, d.at, d.cookie, d.port, d.addr()))
	}
	s.known.forget(d.cookie)
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
	a.Opened = s.base.Add(before.opened())
	return a
}
