package cluster

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// stalls knows when this machine stood still: a test must not take a neighbour's appetite for a
// late exit. It only ever widens upper bounds.
var stalls stallMeter

type stallMeter struct {
	mu   sync.Mutex
	list []stall
	full []stall // when no processor was free
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

// watchLoad notes when no processor was free: what the kubelet starts, as a probe that is a command,
// may come late then, though what runs already does not stand still. It runs for as long as the
// process.
func (m *stallMeter) watchLoad() {
	idle, total := processorTime()
	for from := time.Now(); ; {
		time.Sleep(500 * time.Millisecond)
		to := time.Now()
		nowIdle, nowTotal := processorTime()
		if (nowIdle-idle)*20 < nowTotal-total {
			m.mu.Lock()
			m.full = append(m.full, stall{from, to})
			m.mu.Unlock()
		}
		from, idle, total = to, nowIdle, nowTotal
	}
}

// processorTime is how long the processors have been idle, and been there, in the first line of
// /proc/stat.
func processorTime() (idle, total int) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		n, _ := strconv.Atoi(field) // 0 for the name
		total += n
		if i == 4 || i == 5 { // idle, and waiting for a disk
			idle += n
		}
	}
	return idle, total
}

// busy is how long no processor was free in that time.
func (m *stallMeter) busy(from, to time.Time) time.Duration {
	m.mu.Lock()
	full := stallMeter{list: slices.Clone(m.full)}
	m.mu.Unlock()
	return full.between(from, to)
}

// between is how long the machine stood still in that time.
func (m *stallMeter) between(from, to time.Time) time.Duration {
	return m.with(nil, from, to)
}

// with is between, and counts others' stalls, too. What two of them saw at once counts once.
func (m *stallMeter) with(others []stall, from, to time.Time) time.Duration {
	m.mu.Lock()
	all := slices.Concat(m.list, others)
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b stall) int { return a.from.Compare(b.from) })
	var sum time.Duration
	for _, s := range all {
		begin, end := s.from, s.to
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if end.After(begin) {
			sum += end.Sub(begin)
			from = end
		}
	}
	return sum
}

// TestStalls: what the machine and a pod saw at once counts once, and only what was in between.
func TestStalls(t *testing.T) {
	start := time.Now()
	at := func(from, to float64) stall {
		return stall{start.Add(time.Duration(from * float64(time.Second))), start.Add(time.Duration(to * float64(time.Second)))}
	}
	m := stallMeter{list: []stall{at(0, 2), at(3, 4), at(7, 8)}}
	for _, c := range []struct {
		others []stall
		want   time.Duration
	}{
		{nil, 2 * time.Second},
		{[]stall{at(5, 6)}, 3 * time.Second},
		{[]stall{at(3.25, 3.75), at(0.5, 2.5)}, 2500 * time.Millisecond},
		{[]stall{at(-2, -1), at(8, 9)}, 2 * time.Second},
	} {
		if got := m.with(c.others, start.Add(time.Second), start.Add(7*time.Second)); got != c.want {
			t.Errorf("with %v: %s, want %s", c.others, got, c.want)
		}
	}
}
