package cluster

import (
	"sync"
	"time"
)

// stalls knows when this machine stood still: a test must not take a neighbour's appetite for a
// late exit. It only ever widens upper bounds.
var stalls stallMeter

type stallMeter struct {
	mu   sync.Mutex
	list []stall
}

type stall struct {
	from, to time.Time
}

// watch sleeps for short times and notes when it wakes up much too late. It runs for as long as the
// process.
func (m *stallMeter) watch() {
	const nap, late = 20 * time.Millisecond, 100 * time.Millisecond
	for {
		from := time.Now()
		time.Sleep(nap)
		if to := time.Now(); to.Sub(from) > nap+late {
			m.mu.Lock()
			m.list = append(m.list, stall{from.Add(nap), to})
			m.mu.Unlock()
		}
	}
}

// between is how long the machine stood still in that time.
func (m *stallMeter) between(from, to time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var sum time.Duration
	for _, s := range m.list {
		begin, end := s.from, s.to
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		sum += max(0, end.Sub(begin))
	}
	return sum
}
