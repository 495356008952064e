package procnet

import (
	"sort"
	"time"
)

// acceptWatch follows the accept queues from look to look, to tell whether anything is
// accepted from them. There are three signs of that:
//   - A connection that waited has an owner, or has ended.
//   - A new connection has an owner, or has ended.
//   - A queue is shorter than it was, plus what came. Only this one shows the accept of a
//     connection that is in no table, because its client reset it while it waited.
//
// A port's queues (SO_REUSEPORT) count as one: what any of them accepts counts for all.
type acceptWatch struct {
	waiting map[uint16]waitingQueue // queues that were not empty at the last look's end

	rows map[uint16]uint32 // connections that the last dump saw waiting, by port

	// Since the last look's end, by port:
	came map[uint16]uint32 // new connections
	sign map[uint16]bool   // an accept was seen
}

// waitingQueue is a queue that was not empty.
type waitingQueue struct {
	length  uint32 // as its listener told in the end
	members uint32 // when the connections were seen: as it told before, or those, if that is more
	since   time.Duration
}

func newAcceptWatch() *acceptWatch {
	return &acceptWatch{
		waiting: make(map[uint16]waitingQueue),
		rows:    make(map[uint16]uint32), came: make(map[uint16]uint32), sign: make(map[uint16]bool),
	}
}

// begin starts a dump, or a pass, through all connections.
func (w *acceptWatch) begin() { clear(w.rows) }

// see records a connection that the look shows, with what was known of it before.
func (w *acceptWatch) see(port uint16, before sighting, known, waits bool) {
	if waits {
		w.rows[port]++
	}
	if !known {
		w.came[port]++
	}
	if !waits && (!known || before.waited()) {
		w.sign[port] = true
	}
}

// comeUnseen records new connections that the look does not show, on whatever port.
func (w *acceptWatch) comeUnseen(n uint64) {
	for port := range w.waiting {
		w.came[port] += uint32(min(n, 1<<16))
	}
}

// unknown records that accepts may have been missed, on whatever port.
func (w *acceptWatch) unknown() {
	for port := range w.waiting {
		w.sign[port] = true
	}
}

// end completes a look that found queues of these lengths: first right before it saw the
// connections, then right after that, and last at its end. What comes after a look has seen the
// connections is new to the next one.
func (w *acceptWatch) end(first, then, last map[uint16]Queue, ports *portSet, now time.Duration) {
	before := w.waiting
	w.waiting = make(map[uint16]waitingQueue)
	for port, q := range last {
		if q.Len == 0 || !ports.has(port) {
			continue
		}
		since := now
		if was, ok := before[port]; ok && !w.sign[port] && was.members+w.came[port] <= then[port].Len {
			since = was.since
		}
		w.waiting[port] = waitingQueue{length: q.Len, members: max(first[port].Len, w.rows[port]), since: since}
	}
	clear(w.came)
	clear(w.sign)
}

// waits reports whether the port's queue was not empty at the end of the last look.
func (w *acceptWatch) waits(port uint16) bool {
	_, ok := w.waiting[port]
	return ok
}

// yield yields what waits on the ports now.
func (w *acceptWatch) yield(ports *portSet, base, now time.Time, yield func(Arrival)) {
	for port, q := range w.waiting {
		if ports.has(port) {
			yield(Arrival{At: now, Kind: Waiting, Port: port, Count: clamp(uint64(q.length)), Since: base.Add(q.since)})
		}
	}
}

// sortedQueues returns the queues of these ports, by port.
func sortedQueues(queues map[uint16]Queue, ports *portSet) []Queue {
	var list []Queue
	for port, q := range queues {
		if ports.has(port) {
			list = append(list, q)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Port < list[j].Port })
	return list
}
