package procnet

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"net/netip"
	"time"
)

// maxFresh bounds the new connections of one survey that are told apart.
const maxFresh = 4096

// survey is what one pass through the tables finds on the ports, in bounded
// room. It is also what the pass needs to know.
type survey struct {
	ports *portSet
	auto  bool          // listeners that it finds are watched, too
	since time.Duration // when the pass before it began
	yield func(Arrival) // for half-open connections

	fresh    []fresh        // new connections on the ports
	more     map[uint16]int // those that found no room, by port
	mine     int            // how many both are
	others   int            // new connections on other ports that listen
	halfOpen bool
	peer     soleAddr // of the open connections on the ports; no ports: on all that listen
	skipped  bool     // a row went by because nothing listens on its port
	grew     bool     // and then a listener turned up
}

// fresh is a connection that a survey sees for the first time.
type fresh struct {
	id     uint64
	port   uint16
	peer   netip.AddrPort
	closed bool
	at     time.Duration // if closed: when, since the source was opened
}

// survey goes through the tables.
func (s *procSource) survey(ctx context.Context, v *survey) error {
	began := time.Since(s.base)
	s.known.begin()
	for pass := 1; pass == 1 || v.grew && pass == 2; pass++ {
		v.skipped, v.grew = false, false
		clear(s.queues)
		err := s.tables.each(ctx, func(r *tableRow) {
			if r.state == stateListen {
				v.grew = s.listener(r, v) && v.skipped || v.grew
			} else {
				s.connection(r, v)
			}
		})
		if err != nil {
			return fmt.Errorf("proc: %w", err)
		}
	}
	// A pass can miss a row, so one is forgotten only after two.
	s.known.sweep(1)
	s.halfOpen = v.halfOpen
	s.surveyed = time.Since(s.base)
	s.took = s.surveyed - began
	s.peers = [2]soleAddr{v.peer, s.peers[0]}
	return nil
}

// listeners goes through the tables for the accept queues alone.
func (s *procSource) listeners(ctx context.Context) error {
	clear(s.queues)
	err := s.tables.each(ctx, func(r *tableRow) {
		if r.state == stateListen {
			s.listener(r, nil)
		}
	})
	if err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	return nil
}

// listener takes a LISTEN row in, and reports whether its port is new. Its
// rx_queue is the length of the accept queue (get_tcp4_sock in
// net/ipv4/tcp_ipv4.c); the backlog isn't shown.
func (s *procSource) listener(r *tableRow, v *survey) bool {
	port := r.local.Port()
	q := s.queues[port]
	s.queues[port] = Queue{Port: port, Len: q.Len + r.rqueue}
	isNew := s.ports.add(port, r.local.Addr())
	if v != nil && v.auto && s.ports.open.has(port) {
		v.ports.add(port)
	}
	return isNew
}

// connection takes any other row in.
func (s *procSource) connection(r *tableRow, v *survey) {
	port := r.local.Port()
	watched := v.ports.has(port)
	if !watched && !s.ports.all.has(port) {
		v.skipped = true // one that the pod itself opened
		return
	}
	now := time.Since(s.base)
	if r.state == stateSynRecv { // PassiveOpens doesn't count it yet
		if watched {
			t := s.base.Add(now)
			v.yield(Arrival{At: t, Kind: Connection, Opened: t, Conn: s.id(r), Port: port, Peer: r.peer, Count: 1})
			v.halfOpen = true
		}
		return
	}
	open := !r.closed()
	if open && (watched || v.ports.n == 0) {
		v.peer.add(r.peer.Addr())
	}
	id, noRoom := s.id(r), s.known.full()
	before, ok := s.known.mark(id, now, port, open)
	switch {
	case ok && s.known.marked(before): // repeated
	case ok && (before.live() || !open): // known, or the remains of it
	case watched:
		v.add(fresh{id: id, port: port, peer: r.peer}, r, now)
	case !noRoom:
		v.others++
	}
}

// add notes a new connection on the ports.
func (v *survey) add(c fresh, r *tableRow, now time.Duration) {
	v.mine++
	if r.state == stateTimeWait {
		// Data can't be newer than the close, but the kernel may have been
		// built with another TIME_WAIT: then the close seems older than the
		// last pass, which didn't know the connection.
		c.at = min(now, now-(timeWait-r.left)+2*clockStep)
		c.closed = c.at >= v.since
	}
	if len(v.fresh) < maxFresh {
		v.fresh = append(v.fresh, c)
		return
	}
	if v.more == nil {
		v.more = make(map[uint16]int)
	}
	v.more[c.port]++
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

// soleAddr is the address of all the peers, if it is but one.
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
