package procnet

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxEvents limits the events kept between two looks: 768 KiB, twice. What is
	// beyond that is merged.
	maxEvents = 1 << 14

	// maxOrigins limits how many origins are told apart among merged events.
	maxOrigins = 1 << 10
)

// destroyed is the end of a connection.
type destroyed struct {
	at     time.Duration // when its newest data came, since the source was opened
	cookie uint64
	peer   [16]byte
	port   uint16
	dport  uint16
	family uint8

	hasVolume bool
	volume
}

func (d destroyed) addr() netip.AddrPort {
	return netip.AddrPortFrom(address(d.family, d.peer), d.dport)
}

// origin is what merged events have in common: their port and their peers' address,
// so that it can still be told whether they count. Family 0: several addresses.
type origin struct {
	peer   [16]byte
	port   uint16
	family uint8
}

func (o origin) addr() netip.AddrPort {
	if o.family == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(address(o.family, o.peer), 0)
}

// merged stands for the events of one origin.
type merged struct {
	at    time.Duration // when the newest of them happened
	count int
}

// eventLog is what the destroy groups reported between two looks.
type eventLog struct {
	list   []destroyed
	merged map[origin]merged
	lost   bool // the kernel dropped events, the last time until lostAt
	lostAt time.Duration
	err    error // why there will be no more events
}

// events collects what the destroy groups report.
//
// An event comes when the kernel frees a TCP socket (sock_diag_broadcast_destroy in
// net/core/sock_diag.c, from __sk_free). That is when the app has closed it, and the
// connection has ended or entered TIME_WAIT. Half-open connections have no event. Nor
// does any other while the kernel finds no memory for the report.
type events struct {
	mu     sync.Mutex
	log    eventLog
	ports  *portSet // nil: the events of all ports are wanted
	others bool     // other ports' events are wanted too, but may fill only half the room
}

// want keeps the events of these ports from now on. With others it keeps those of
// other ports too, as a listener may have opened there since the last look.
func (e *events) want(ports *portSet, others bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ports, e.others = ports, others
}

// take hands over everything since the last take. The caller gives back the list of
// the log that he no longer needs, for reuse.
func (e *events) take(used []destroyed) eventLog {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := e.log
	e.log = eventLog{list: used[:0], lostAt: taken.lostAt, err: taken.err}
	return taken
}

// any reports whether one of the events that are kept is such, or more have come than were kept.
func (e *events) any(such func(destroyed) bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.lost || len(e.log.merged) > 0 || slices.ContainsFunc(e.log.list, such)
}

// lose records that the kernel dropped events until now.
func (e *events) lose(now time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log.lost, e.log.lostAt = true, now
}

func (e *events) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log.err = err
}

// add records an event that was read at now.
func (e *events) add(r *row, now time.Duration) {
	d := destroyed{
		at: arrived(r, now), cookie: r.cookie,
		peer: r.dst, port: r.sport, dport: r.dport, family: r.family,
		hasVolume: r.hasBytes, volume: r.volume(),
	}
	// tcp_disconnect (net/ipv4/tcp.c) zeroes the peer's port and the times, but not the
	// peer's address. A connection has been through it if its own side reset it
	// (SO_LINGER with 0), or if the listener was closed before it was accepted. Without
	// an address the socket was never connected: it is a listener.
	if d.dport == 0 {
		if address(d.family, d.peer).IsUnspecified() {
			return
		}
		d.at, d.hasVolume = now, false
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
	if len(e.log.list) < room {
		e.log.list = append(e.log.list, d)
		return
	}
	e.log.merge(d)
}

// merge records an event that found no room in the list.
func (l *eventLog) merge(d destroyed) {
	if l.merged == nil {
		l.merged = make(map[origin]merged)
	}
	o := origin{peer: d.peer, port: d.port, family: d.family}
	m, ok := l.merged[o]
	if !ok && len(l.merged) >= maxOrigins {
		o = origin{port: d.port}
		m = l.merged[o]
	}
	l.merged[o] = merged{max(m.at, d.at), m.count + 1}
}

// parseEvents records the messages of one read.
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
