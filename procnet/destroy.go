package procnet

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxEvents bounds the events kept between two looks: 640 KiB, twice.
	// Beyond it they are merged.
	maxEvents = 1 << 14

	// maxGroups bounds the groups of merged events.
	maxGroups = 1 << 10
)

// clockStep is what a time given by the kernel may be too old by. It counts
// tcpi_last_data_recv in jiffies: 1 to 10 ms, depending on CONFIG_HZ.
const clockStep = 10 * time.Millisecond

// destroyed is the end of a connection.
type destroyed struct {
	at     time.Duration // when its newest data came, since the source was opened
	cookie uint64
	peer   [16]byte
	port   uint16
	dport  uint16
	family uint8
}

func (e destroyed) addr() netip.AddrPort {
	return netip.AddrPortFrom(address(e.family, e.peer), e.dport)
}

// group is what merged events have in common: a port and an address of their
// peers, so that it can still be told whether they count. Family 0: several.
type group struct {
	peer   [16]byte
	port   uint16
	family uint8
}

func (g group) addr() netip.AddrPort {
	if g.family == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(address(g.family, g.peer), 0)
}

// merged stands for the events of a group.
type merged struct {
	at    time.Duration
	count int
}

// events is what the destroy groups said since the last look.
//
// An event comes when the kernel frees a TCP socket (sock_diag_broadcast_destroy
// in net/core/sock_diag.c, from __sk_free): when the app has closed it, and the
// connection has ended or entered TIME_WAIT. There is none for half-open ones,
// nor for any while the kernel finds no memory to report it.
type events struct {
	mu     sync.Mutex
	list   []destroyed
	merged map[group]merged
	lost   bool
	lostAt time.Duration
	err    error    // why there will be no more events
	ports  *portSet // nil: all are wanted
	others bool     // so are those of other ports, but they may fill only half the room
}

// batch is what take hands over.
type batch struct {
	list   []destroyed
	merged map[group]merged
	lost   bool
	lostAt time.Duration
	err    error
}

// want keeps the events of these ports from now on; with others, also those of
// other ports, as a listener may have opened there since the last look.
func (e *events) want(ports *portSet, others bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ports, e.others = ports, others
}

// take hands over everything since the last take, in exchange for the list of
// the batch that the caller has done with.
func (e *events) take(done []destroyed) batch {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := batch{e.list, e.merged, e.lost, e.lostAt, e.err}
	e.list, e.merged, e.lost = done[:0], nil, false
	return b
}

// lose notes that the kernel dropped events until now.
func (e *events) lose(now time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost, e.lostAt = true, now
}

func (e *events) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// add takes in an event that was read at now.
func (e *events) add(r *row, now time.Duration) {
	d := destroyed{
		at: arrived(r, now), cookie: r.cookie,
		peer: r.dst, port: r.sport, dport: r.dport, family: r.family,
	}
	// A connection that its own side has reset on purpose (SO_LINGER with 0), or
	// that was closed with the listener before it was accepted, has been through
	// tcp_disconnect (net/ipv4/tcp.c): the peer's port and the time of its data
	// are zeroed, its address is not. Without an address it was never connected:
	// a listener.
	if d.dport == 0 {
		if address(d.family, d.peer).IsUnspecified() {
			return
		}
		d.at = now
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	room := maxEvents
	if e.ports != nil && !e.ports.has(d.port) {
		if !e.others {
			return
		}
		room /= 2
	}
	if len(e.list) < room {
		e.list = append(e.list, d)
		return
	}
	e.merge(d)
}

// merge takes in an event that found no room in the list.
func (e *events) merge(d destroyed) {
	if e.merged == nil {
		e.merged = make(map[group]merged)
	}
	g := group{peer: d.peer, port: d.port, family: d.family}
	m, ok := e.merged[g]
	if !ok && len(e.merged) >= maxGroups {
		g = group{port: d.port}
		m = e.merged[g]
	}
	e.merged[g] = merged{max(m.at, d.at), m.count + 1}
}

// arrived is when a connection's newest data came, or itself, given that its
// row was read at now: rounded up, and never in the future.
func arrived(r *row, now time.Duration) time.Duration {
	if !r.hasAge {
		return now
	}
	return min(now, now-r.age+clockStep)
}

// parseEvents takes in the messages of one recv.
func (e *events) parseEvents(b []byte, now time.Duration, r *row) error {
	for len(b) > 0 {
		var m message
		var err error
		if m, b, err = nextMessage(b); err != nil {
			return err
		}
		if m.kind != msgByFamily {
			continue
		}
		if err := parseRow(m.body, r); err != nil {
			return err
		}
		e.add(r, now)
	}
	return nil
}
