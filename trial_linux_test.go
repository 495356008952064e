package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// trial is traffic of random kinds that stops at a random moment, and lull that
// waits for the lull.
type trial struct {
	Lull   string // the binary
	Source string
	Seed   uint64
	Quiet  time.Duration
}

// verdict is when lull ended. What arrived last did so between two moments: when
// the client began it, and when it was over.
type verdict struct {
	After  time.Duration // the end, after the client began what arrived last
	Late   time.Duration // the end, after quiet had passed since the last of all that happened
	Stalls time.Duration // the machine stood still so long meanwhile
	Gap    time.Duration // the longest pause between two arrivals
	Did    []string      // what happened, in order
	Reason string
}

// late is how long after the window lull may end.
const late = 300 * time.Millisecond

// TestTrials holds the exit to its window: never before it, and not much after.
// LULL_TRIALS=n makes it n trials of each source.
func TestTrials(t *testing.T) {
	path := binary(t)
	n := 12
	if v, err := strconv.Atoi(os.Getenv("LULL_TRIALS")); err == nil {
		n = v
	}
	for _, source := range []string{"netlink", "proc"} {
		t.Run(source, func(t *testing.T) {
			var mu sync.Mutex
			var after, lateness []time.Duration
			var again int // trials in which lull was late
			var group sync.WaitGroup
			turn := make(chan uint64)
			for range 6 { // they wait more than they work
				group.Go(func() {
					for seed := range turn {
						v, lates := conduct(t, trial{Lull: path, Source: source, Seed: seed, Quiet: 500 * time.Millisecond})
						mu.Lock()
						again += min(lates, 1)
						after, lateness = append(after, v.After), append(lateness, v.Late)
						mu.Unlock()
					}
				})
			}
			for seed := range uint64(n) {
				turn <- seed
			}
			close(turn)
			group.Wait()
			slices.Sort(after)
			slices.Sort(lateness)
			if len(after) != n {
				t.Fatalf("%d trials, want %d", len(after), n)
			}
			t.Logf("%s: %d trials, window 500 ms: lull ended %d to %d ms after the last arrival began (median %d), and at most %d ms later than the window after all was over; held again because it was late: %d",
				source, n, after[0].Milliseconds(), after[n-1].Milliseconds(), after[n/2].Milliseconds(), lateness[n-1].Milliseconds(), again)
			if again > n/4 {
				t.Errorf("%s: late in %d of %d trials", source, again, n)
			}
		})
	}
}

// conduct makes one trial count, and tells how often lull was late in it. One in
// which the traffic itself paused for half the window, because the machine did,
// says nothing. Nor does one late exit: where no CPU is free the kernel may take
// seconds to end a process. Lateness that is lull's own comes back.
func conduct(t *testing.T, x trial) (v verdict, lates int) {
	const tooMany = 3
	for range 8 {
		var err error
		v, err = perform[verdict](t.Context(), "trial", x)
		switch {
		case err != nil:
			t.Error(err)
		case v.Gap >= x.Quiet/2:
			x.Seed += 1 << 32
			continue
		case v.After < x.Quiet:
			t.Errorf("%s, seed %d: ended %s after what arrived last, before its window of %s: %s; did %v", x.Source, x.Seed, v.After, x.Quiet, v.Reason, v.Did)
		case v.Late > late+v.Stalls:
			lates++
			t.Logf("%s, seed %d: ended %s later than its window (the machine stood still for %s): %s; did %v", x.Source, x.Seed, v.Late, v.Stalls, v.Reason, v.Did)
			if lates < tooMany {
				continue
			}
			t.Errorf("%s, seed %d: late %d times", x.Source, x.Seed, lates)
		}
		return v, lates
	}
	t.Errorf("%s, seed %d: the machine stood still in each try", x.Source, x.Seed)
	return v, lates
}

// run is the trial, on its stage.
func (x trial) run() (v verdict, err error) {
	var standing stalls
	go standing.watch()
	random := rand.New(rand.NewPCG(x.Seed, 5))
	s, err := newTraffic(random)
	if err != nil {
		return v, err
	}
	for range random.IntN(6) { // open before lull is
		s.keep()
	}
	h, err := startHook(x.Lull, "--port", s.port(s.app), "--port", s.port(s.deaf), "--quiet", x.Quiet.String(), "--timeout", "60s", "--source", x.Source)
	if err != nil {
		return v, err
	}
	defer h.Process.Kill()
	began, previous := time.Now(), time.Now()
	for length := time.Duration(random.Int64N(int64(1500 * time.Millisecond))); time.Since(began) < length && s.err == nil; {
		s.act()
		if !s.arrived.Before(previous) {
			v.Gap, previous = max(v.Gap, s.arrived.Sub(previous)), s.arrived
		}
		time.Sleep(time.Duration(random.Int64N(int64(40 * time.Millisecond))))
	}
	s.settle()
	last, over := s.arrived, time.Now()
	if last.IsZero() {
		last = began // nothing has come at all: the window began with lull
	}
	v.Gap = max(v.Gap, over.Sub(previous))
	select {
	case <-h.ended:
	case <-time.After(30 * time.Second):
		return v, fmt.Errorf("lull does not end: %v", h.story)
	}
	v.After, v.Late = h.end().Time.Sub(last), h.at.Sub(over)-x.Quiet
	v.Stalls, v.Did, v.Reason = standing.since(began), s.did, h.end().Msg
	if s.err == nil && h.ProcessState.ExitCode() != exitQuiet {
		s.err = fmt.Errorf("exit code %d: %s", h.ProcessState.ExitCode(), v.Reason)
	}
	return v, s.err
}

// traffic is clients of an app, and of a port on which nobody accepts.
type traffic struct {
	random    *rand.Rand
	app, deaf net.Listener
	kept      []net.Conn
	waiting   []net.Conn // never accepted
	arrived   time.Time  // when the newest arrival was begun
	did       []string
	err       error
}

// orders are what the first byte of a connection asks of the app.
const (
	echoes = 'e'
	closes = 'c'
	resets = 'r'
)

func newTraffic(random *rand.Rand) (s *traffic, err error) {
	s = &traffic{random: random}
	var config net.ListenConfig
	config.SetMultipathTCP(random.IntN(2) == 0)
	if s.app, err = config.Listen(context.Background(), "tcp", "[::]:0"); err != nil {
		return nil, err
	}
	if s.deaf, err = config.Listen(context.Background(), "tcp", "[::]:0"); err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := s.app.Accept()
			if err != nil {
				return
			}
			go obey(c)
		}
	}()
	return s, nil
}

func (s *traffic) port(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// obey answers each byte with itself, and ends the connection as asked.
func obey(c net.Conn) {
	defer c.Close()
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		if _, err := c.Write(b); err != nil || b[0] == closes {
			return
		}
		if b[0] == resets {
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		}
	}
}

// act does one thing at random.
func (s *traffic) act() {
	acts := []struct {
		name string
		do   func()
	}{
		{"short", func() { s.short(echoes, false) }},
		{"short, reset by the client", func() { s.short(echoes, true) }},
		{"short, closed by the app", func() { s.short(closes, false) }},
		{"short, reset by the app", func() { s.short(resets, false) }},
		{"silent", s.silent},
		{"never accepted", s.unheard},
		{"keep", s.keep},
		{"request", s.request},
		{"request", s.request},
		{"let go", s.letGo},
	}
	a := acts[s.random.IntN(len(acts))]
	s.did = append(s.did, a.name)
	a.do()
}

func (s *traffic) dial(l net.Listener) net.Conn {
	host := []string{"127.0.0.1", "::1"}[s.random.IntN(2)]
	var d net.Dialer
	d.SetMultipathTCP(s.random.IntN(2) == 0)
	s.arrived = time.Now()
	c, err := d.Dial("tcp", net.JoinHostPort(host, s.port(l)))
	if err != nil {
		s.err = err
		return nil
	}
	return c
}

// ask sends a byte and waits for it to come back.
func (s *traffic) ask(c net.Conn, order byte) {
	b := []byte{order}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	s.arrived = time.Now()
	_, err := c.Write(b)
	if err == nil {
		_, err = io.ReadFull(c, b)
	}
	if err != nil {
		s.err = err
	}
}

// short is a connection with one request.
func (s *traffic) short(order byte, reset bool) {
	c := s.dial(s.app)
	if c == nil {
		return
	}
	s.ask(c, order)
	if reset {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	if order != echoes {
		_, _ = c.Read(make([]byte, 1)) // until the app ends it
	}
	c.Close()
}

// silent is a connection without a request.
func (s *traffic) silent() {
	if c := s.dial(s.app); c != nil {
		c.Close()
	}
}

// unheard is a connection that waits in an accept queue.
func (s *traffic) unheard() {
	if c := s.dial(s.deaf); c != nil {
		s.waiting = append(s.waiting, c)
	}
}

func (s *traffic) keep() {
	if c := s.dial(s.app); c != nil {
		s.kept = append(s.kept, c)
		if s.random.IntN(2) == 0 {
			s.ask(c, echoes)
		}
	}
}

func (s *traffic) request() {
	if len(s.kept) > 0 {
		s.ask(s.kept[s.random.IntN(len(s.kept))], echoes)
	}
}

func (s *traffic) letGo() {
	if len(s.kept) > 0 {
		i := s.random.IntN(len(s.kept))
		s.kept[i].Close()
		s.kept = slices.Delete(s.kept, i, i+1)
	}
}

// settle ends what would hold lull for ever: connections in an accept queue.
func (s *traffic) settle() {
	s.deaf.Close()
	for _, c := range s.waiting {
		c.Close()
	}
}
