package procnet

import (
	"context"
	"maps"
	"sync"
	"time"
)

// maxSpared is how long a machine that had no CPU for a reading is spared the next one at most.
const maxSpared = time.Second

// acceptLog notices between two looks that connections are accepted which have waited for that, so
// that they count by when the app begins with them. It looks at the lengths of the accept queues
// when connections have been opened and for a tick no more were, and then, while any waits, at each
// tick. So an accept is dated to a tick; one within two ticks of the opening may be missed, and so
// may one that another arrival makes up for: that holds the exit by itself.
type acceptLog struct {
	tables *tables
	due    bool          // there is something to see
	spared time.Duration // no reading before that: see sparing

	mu       sync.Mutex        // guards what follows
	lengths  map[uint16]uint32 // of the queues at the last reading, by port
	accepted map[uint16]time.Duration
}

func newAcceptLog(procRoot string) *acceptLog {
	return &acceptLog{tables: newTables(procRoot), accepted: make(map[uint16]time.Duration)}
}

// tick is called after each reading of the counters, with when that was and whether connections
// have been opened since the one before.
func (l *acceptLog) tick(ctx context.Context, at time.Duration, opened bool) {
	if opened {
		l.due = true
		return
	}
	if !l.due || at < l.spared {
		return
	}
	began := time.Now()
	lengths := make(map[uint16]uint32)
	waiting := false
	err := l.tables.listeners(ctx, func(r *tableRow) {
		lengths[r.local.Port()] += r.rqueue
		waiting = waiting || r.rqueue > 0
	})
	took := time.Since(began)
	now := at + took
	l.spared = now + min(sparing*took, maxSpared)
	if err == nil { // else a look will say so, and the next tick tries again
		l.record(lengths, now)
		l.due = waiting
	}
}

// record compares the queues' lengths, by port, with those of the reading before.
func (l *acceptLog) record(lengths map[uint16]uint32, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for port, n := range lengths { // without a listener nothing is accepted any more
		if n < l.lengths[port] {
			l.accepted[port] = now
		}
	}
	l.lengths = lengths
}

// take hands over when connections were last seen to have been accepted, by port, since the last
// call.
func (l *acceptLog) take() map[uint16]time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := maps.Clone(l.accepted)
	clear(l.accepted)
	return taken
}
