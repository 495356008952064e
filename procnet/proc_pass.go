package procnet

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"
)

// maxSights limits the new connections of one pass that are told apart.
const maxSights = 4096

// pass is one pass through the tables: what it is to look for, and what it finds on the
// ports, in limited room.
type pass struct {
	ports *portSet
	auto  bool          // ports of listeners that it finds are watched too
	since time.Duration // when the pass before it began
	yield func(Arrival) // for connections that are half-open, or accepted since the last pass
	open  func(Conn)    // for those that are open; may be nil

	sights []firstSight   // new connections on the ports
	more   map[uint16]int // those that found no room, by port
	mine   int            // how many both are
	others int            // new connections on other ports that listen
	peer   soleAddr       // of the open connections on the ports; no ports: on all that listen

	// skipped: a row was passed over because no listener of its port had been seen yet.
	// grew: such a listener appeared later, so that the tables must be read once more.
	skipped, grew bool
}

// firstSight is a connection that a pass sees for the first time.
type firstSight struct {
	id     uint64
	port   uint16
	peer   netip.AddrPort
	closed bool
	at     time.Duration // if closed: when, since the source was opened
}

// readTables makes a pass.
func (s *procSource) readTables(ctx context.Context, p *pass) error {
	began := time.Since(s.base)
	s.known.begin()
	s.accepts.begin()
	for reading := 1; reading == 1 || p.grew && reading == 2; reading++ {
		p.skipped, p.grew = false, false
		err := s.eachRow(ctx, func(r *tableRow) {
			if r.state == stateListen {
				p.grew = s.addListener(r, p) && p.skipped || p.grew
			} else {
				s.addConnection(r, p)
			}
		})
		if err != nil {
			return err
		}
	}
	// A pass can miss a row, so a connection is forgotten only after two.
	s.known.sweep(1)
	s.passed = time.Since(s.base)
	s.took = s.passed - began
	s.peers = [2]soleAddr{p.peer, s.peers[0]}
	return nil
}

// readQueues goes through the tables for the accept queues alone.
func (s *procSource) readQueues(ctx context.Context) error {
	return s.eachRow(ctx, func(r *tableRow) {
		if r.state == stateListen {
			s.addListener(r, nil)
		}
	})
}

// eachRow reads the tables, and the accept queues anew.
func (s *procSource) eachRow(ctx context.Context, f func(*tableRow)) error {
	err := twice(ctx, func() error {
		clear(s.queues)
		return s.tables.each(ctx, f)
	})
	if err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	return nil
}

// addListener records a LISTEN row, and reports whether its port is new. Its rx_queue is the length
// of the accept queue (get_tcp4_sock in net/ipv4/tcp_ipv4.c); the backlog is not shown.
func (s *procSource) addListener(r *tableRow, p *pass) bool {
	port := r.local.Port()
	q := s.queues[port]
	s.queues[port] = Queue{Port: port, Len: q.Len + r.rqueue}
	isNew := s.ports.add(port, r.local.Addr())
	if isNew {
		s.sampler.listens(port)
	}
	if p != nil && p.auto && s.ports.reachable.has(port) {
		p.ports.add(port)
	}
	return isNew
}

// addConnection records any other row.
func (s *procSource) addConnection(r *tableRow, p *pass) {
	port := r.local.Port()
	watched := p.ports.has(port)
	if !watched && !s.ports.all.has(port) {
		p.skipped = true // one that the pod itself opened
		return
	}
	now, id := time.Since(s.base), s.id(r)
	if r.state == stateSynRecv {
		s.addHalfOpen(r, p, id, now, watched)
		return
	}
	if !r.closed() && (watched || p.ports.n == 0) {
		p.peer.add(r.peer.Addr())
	}
	is := condition(0)
	if r.canReceive() {
		is |= live
	}
	if r.waits() {
		is |= waits
	}
	noRoom := s.known.full()
	before, ok := s.known.mark(id, now, port, is, 0)
	if ok && s.known.marked(before) && !before.halfOpen() {
		return // repeated
	}
	if p.open != nil && watched && (r.state == stateEstablished || r.state == stateCloseWait) {
		opened := now
		if ok && !before.halfOpen() {
			opened = before.firstSeen()
		}
		p.open(Conn{ID: id, Opened: s.base.Add(opened), Port: port, Peer: r.peer})
	}
	known := ok && !before.halfOpen() && (before.live() || is&live == 0) // or the remains of it
	s.accepts.see(port, before, known, r.waits())
	switch {
	case known && watched && before.waited() && !r.waits() && s.accepts.waits(port):
		t := s.base.Add(now)
		p.yield(Arrival{At: t, Kind: Request, Conn: id, Opened: s.base.Add(before.firstSeen()), Port: port, Peer: r.peer, Count: 1})
	case known:
	case watched:
		p.add(firstSight{id: id, port: port, peer: r.peer}, r, now)
	case !noRoom:
		p.others++
	}
}

// addHalfOpen records a connection that becomes one, or nothing at all. PassiveOpens does
// not count it yet.
func (s *procSource) addHalfOpen(r *tableRow, p *pass, id uint64, now time.Duration, watched bool) {
	if before, ok := s.known.get(id); ok && s.known.marked(before) {
		return // repeated, and complete by now
	}
	before, ok := s.known.mark(id, now, r.local.Port(), halfOpen, 0)
	if watched && (!ok || !before.halfOpen()) {
		t := s.base.Add(now)
		p.yield(Arrival{At: t, Kind: Connection, Opened: t, Conn: id, Port: r.local.Port(), Peer: r.peer, Count: 1})
	}
}

// add records a new connection on the ports.
func (p *pass) add(c firstSight, r *tableRow, now time.Duration) {
	p.mine++
	if r.state == stateTimeWait {
		// Data cannot be newer than the close. But the kernel may have been built with
		// another TIME_WAIT: then the close seems older than the last pass, which did not
		// know the connection.
		c.at = min(now, now-(timeWait-r.left)+2*clockStep)
		c.closed = c.at >= p.since
	}
	if len(p.sights) < maxSights {
		p.sights = append(p.sights, c)
		return
	}
	if p.more == nil {
		p.more = make(map[uint16]int)
	}
	p.more[c.port]++
}

// unexplained takes the connections that the tables showed out of all that were opened,
// and returns the rest. A connection that has been closed was opened before that. Of the
// others nothing is known, so they pass for the oldest.
func (p *pass) unexplained(grown []opening) []opening {
	undated := uint64(p.mine + p.others)
	for _, c := range p.sights {
		if c.closed && takeBefore(grown, c.at+tickEvery) {
			undated--
		}
	}
	var left []opening
	for _, o := range grown {
		n := min(o.n, undated)
		undated -= n
		if o.n -= n; o.n > 0 {
			left = append(left, o)
		}
	}
	return left
}

// takeBefore takes one connection out of the newest tick up to a time.
func takeBefore(grown []opening, at time.Duration) bool {
	for i := len(grown) - 1; i >= 0; i-- {
		if grown[i].at <= at && grown[i].n > 0 {
			grown[i].n--
			return true
		}
	}
	return false
}

// id is a hash of the connection's addresses, never 0.
func (s *procSource) id(r *tableRow) uint64 {
	var b [36]byte
	local, peer := r.local.Addr().As16(), r.peer.Addr().As16()
	copy(b[:], local[:])
	copy(b[16:], peer[:])
	binary.BigEndian.PutUint16(b[32:], r.local.Port())
	binary.BigEndian.PutUint16(b[34:], r.peer.Port())
	return max(1, maphash.Bytes(s.seed, b[:]))
}

// soleAddr is the address of all the peers, if it is only one.
type soleAddr struct {
	addr netip.Addr
	many bool
}

func (a *soleAddr) add(addr netip.Addr) {
	switch {
	case !a.addr.IsValid():
		a.addr = addr
	case a.addr != addr:
		a.many = true
	}
}

// and is the address of a's and b's peers.
func (a soleAddr) and(b soleAddr) soleAddr {
	if b.addr.IsValid() {
		a.add(b.addr)
	}
	a.many = a.many || b.many
	return a
}

// endpoint is that address with port 0, invalid if there are several.
func (a soleAddr) endpoint() netip.AddrPort {
	if a.many || !a.addr.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.addr, 0)
}
