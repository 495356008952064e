package main

import (
	"sync"
	"testing"
	"time"
)

// stalls records when this machine stood still: a late exit may be due to that.
type stalls struct {
	mu   sync.Mutex
	list [][2]time.Time
	due  time.Time // when the nap under way should end
}

// A nap that is late by no more than its slack is on time. Where naps take up most of the time, as
// under emulation, stalls of a few ms each add up to as much as a long one.
const nap, napSlack = 5 * time.Millisecond, 2 * time.Millisecond

// watch records each short sleep that takes much too long. It never returns.
func (s *stalls) watch() {
	for {
		s.nap()
	}
}

// nap sleeps for a moment, and records whether it took much too long.
func (s *stalls) nap() {
	s.mu.Lock()
	s.due = time.Now().Add(nap)
	s.mu.Unlock()
	time.Sleep(nap)
	s.wake(time.Now())
}

func (s *stalls) wake(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.due) > napSlack {
		s.list = append(s.list, [2]time.Time{s.due, now})
	}
	s.due = time.Time{}
}

// since returns for how long the machine has stood still since t.
func (s *stalls) since(t time.Time) time.Duration { return s.between(t, time.Now()) }

// between returns for how long the machine stood still in that time. The nap under way counts if it
// should have ended: whoever asks may be awake before it.
func (s *stalls) between(from, to time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	if !s.due.IsZero() && to.Sub(s.due) > napSlack {
		list = append(list, [2]time.Time{s.due, to})
	}
	for _, x := range list {
		begin, end := x[0], x[1]
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

// TestStalls: a machine that stands still for a few ms again and again counts as one that does for
// long, a stall that is not over counts, and only what was in between does.
func TestStalls(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var s stalls
	for _, x := range []struct{ due, woke int }{{5, 6}, {15, 25}, {35, 45}, {100, 300}} {
		s.due = at(x.due)
		s.wake(at(x.woke))
	}
	s.due = at(400)
	for _, c := range []struct{ from, to, want int }{
		{0, 50, 20},
		{20, 40, 10},
		{0, 350, 220},
		{200, 402, 100},
		{350, 900, 500},
	} {
		if got := s.between(at(c.from), at(c.to)); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("from %d to %d ms: %s, want %d ms", c.from, c.to, got, c.want)
		}
	}
}
