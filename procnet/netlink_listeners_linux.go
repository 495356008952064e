package procnet

import (
	"context"
	"maps"
)

// listeners remembers the listening sockets: their ports, their accept queues, and how
// many connections they turned away.
//
// A listener counts its drops (SK_MEMINFO_DROPS, from sk_drops), most of all those of a full accept
// queue (tcp_listendrop in include/net/tcp.h). But it also counts stray segments, such as a
// client's second RST. ListenDrops in /proc/net/netstat leaves those out, but is for the whole
// namespace. So a connection was turned away at a port if both have grown.
type listeners struct {
	ports   listening
	sockets map[uint64]listener // by cookie
	queues  map[uint16]Queue    // of the last dump
	dropped map[uint16]uint64   // by port, not yet reported; port 0: unknown

	counters *counters         // nil: there are none
	drops    uint64            // ListenDrops, as read before the last dump
	round    bool              // flips with each dump
	grown    map[uint16]uint64 // drops that the dump under way shows, by port
}

// listener is one listening socket.
type listener struct {
	drops uint32
	round bool // of the last dump that showed it
}

func newListeners(c *counters) *listeners {
	return &listeners{
		sockets: make(map[uint64]listener), queues: make(map[uint16]Queue),
		dropped: make(map[uint16]uint64), grown: make(map[uint16]uint64), counters: c,
	}
}

// dump reads the listening sockets. It takes 20 µs, as they are in a hash of their own.
func (l *listeners) dump(ctx context.Context, d *dumper) error {
	before, _ := l.listenDrops()
	clear(l.queues)
	clear(l.grown)
	l.round = !l.round
	silent := false
	err := d.dump(ctx, request{states: listenStates, attr: attrMemInfo}, func(r *row) {
		if r.state == stateListen {
			silent = silent || !r.hasDrops
			l.add(r)
		}
	})
	if len(l.grown) > 0 || silent {
		l.compare(silent, err != nil)
	}
	if err != nil {
		return err
	}
	l.drops = before
	maps.DeleteFunc(l.sockets, func(_ uint64, s listener) bool { return s.round != l.round })
	return nil
}

// compare tells the drops that count. What the sockets counted between two dumps lies between
// the reading of ListenDrops before the first dump and that after the second. Silent: some
// sockets do not tell their drops. Incomplete: not all were read.
func (l *listeners) compare(silent, incomplete bool) {
	after, ok := l.listenDrops()
	if ok && !incomplete && after <= l.drops {
		return
	}
	for port, n := range l.grown {
		l.dropped[port] += n
	}
	if silent && after > l.drops {
		l.dropped[0] += min(after-l.drops, 1<<31)
	}
}

// add records a listening socket. The queues of a port's sockets are summed.
func (l *listeners) add(r *row) {
	l.ports.add(r.sport, r.local())
	q := l.queues[r.sport]
	l.queues[r.sport] = Queue{Port: r.sport, Len: q.Len + r.rqueue, Backlog: q.Backlog + r.wqueue}
	// A socket that the last dump did not show began with 0.
	if before := l.sockets[r.cookie]; r.drops != before.drops {
		l.grown[r.sport] += uint64(r.drops - before.drops)
	}
	l.sockets[r.cookie] = listener{r.drops, l.round}
}

// listenDrops is ListenDrops of the namespace, if it can be read.
func (l *listeners) listenDrops() (n uint64, ok bool) {
	if l.counters == nil {
		return 0, false
	}
	c, err := l.counters.tcpExt()
	return c.drops, err == nil && c.hasDrops
}
