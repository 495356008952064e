package procnet

import (
	"context"
	"slices"
)

// listeners is what is known of the listening sockets: their ports, and whom
// they turned away.
//
// A listener counts its drops (SK_MEMINFO_DROPS, from sk_drops), most of all
// those of a full accept queue (tcp_listendrop in include/net/tcp.h). But it
// counts stray segments too, such as a client's second RST. ListenDrops in
// /proc/net/netstat doesn't, but is for the whole namespace. So somebody was
// turned away at a port if both have grown.
type listeners struct {
	ports   listening
	sockets map[uint64]counted // by cookie
	queues  map[uint16]Queue   // of the last look
	dropped map[uint16]uint32  // by port, since somebody asked; port 0: unknown

	file  *counterFile // nil: no such counter
	value [1]uint64
	drops uint64            // ListenDrops as read before the last look
	look  bool              // flips with each look
	fresh map[uint16]uint32 // what the look under way finds, by port
}

// counted is what is remembered of a listening socket.
type counted struct {
	drops uint32
	look  bool
}

// openListeners can do without /proc.
func openListeners(procRoot string) *listeners {
	l := &listeners{
		sockets: make(map[uint64]counted), queues: make(map[uint16]Queue),
		dropped: make(map[uint16]uint32), fresh: make(map[uint16]uint32),
	}
	l.file, _ = openCounters(procRoot, "netstat", "TcpExt:", "ListenDrops")
	return l
}

func (l *listeners) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// see dumps the LISTEN sockets: 20 µs, as they are in a hash of their own.
func (l *listeners) see(ctx context.Context, d *dumper) error {
	before, _ := l.listenDrops()
	clear(l.queues)
	clear(l.fresh)
	l.look = !l.look
	silent := false
	err := d.dump(ctx, request{states: listenStates, attr: attrMemInfo}, func(r *row) {
		if r.state == stateListen {
			silent = silent || !r.hasDrops
			l.socket(r)
		}
	})
	// What the sockets counted between two dumps lies between the reading
	// before the first and the one after the second.
	after, ok := l.listenDrops()
	if !ok || err != nil || after > l.drops {
		for port, n := range l.fresh {
			l.dropped[port] += n
		}
		if silent && after > l.drops {
			l.dropped[0] += uint32(min(after-l.drops, 1<<31))
		}
	}
	if err != nil {
		return err
	}
	l.drops = before
	for cookie, c := range l.sockets {
		if c.look != l.look {
			delete(l.sockets, cookie)
		}
	}
	return nil
}

// socket takes a listener in. Several of a port are summed.
func (l *listeners) socket(r *row) {
	l.ports.add(r.sport, r.local())
	q := l.queues[r.sport]
	l.queues[r.sport] = Queue{Port: r.sport, Len: q.Len + r.rqueue, Backlog: q.Backlog + r.wqueue}
	// One that was not there the last time began with 0.
	if c := l.sockets[r.cookie]; r.drops != c.drops {
		l.fresh[r.sport] += r.drops - c.drops
	}
	l.sockets[r.cookie] = counted{r.drops, l.look}
}

// listenDrops is ListenDrops of the namespace, if it can be read.
func (l *listeners) listenDrops() (n uint64, ok bool) {
	if l.file == nil {
		return 0, false
	}
	found, err := l.file.read(l.value[:])
	return l.value[0], err == nil && found != 0
}

// queued returns the queues of the watched ports.
func (l *listeners) queued(ports *portSet) []Queue {
	var list []Queue
	for port, q := range l.queues {
		if ports.has(port) {
			list = append(list, q)
		}
	}
	slices.SortFunc(list, func(a, b Queue) int { return int(a.Port) - int(b.Port) })
	return list
}
