package wait_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lull/wait"
)

var soaks = flag.Int("soaks", 2000, "how many random timelines TestSoak tries")

// TestSoak tries random timelines, each by its number: what the control plane says, and its
// silences; clients, some of them by the node's address or only counted, beside probes; requests on
// old connections; sockets that are slow, hang or fail; an app that is asked to let go. Whatever
// comes, the hook ends in its budget, it does not spin, and if it says that it was quiet nothing of
// a client's came for a window.
func TestSoak(t *testing.T) {
	n := *soaks
	if testing.Short() {
		n = min(n, 200)
	}
	reasons := map[wait.Reason]int{}
	tried := 0
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSoak(rand.New(rand.NewPCG(uint64(seed), 0)))
				reasons[s.run(t)]++
				tried++
			})
		})
	}
	for _, r := range []wait.Reason{wait.Quiet, wait.Slept, wait.Restart, wait.Budget, wait.Alone, wait.StillOpen} {
		if reasons[r] == 0 && tried >= 1000 {
			t.Errorf("no timeline has ended with %v: %v", r, reasons)
		}
	}
}

// soak is a random timeline, and what is known of it.
type soak struct {
	*rand.Rand
	start   time.Time
	policy  wait.Policy
	control *cluster // nil: none
	kernel  *sockets
	probes  []wait.Probe
	stop    [2]ms          // from, to: the process does not run
	clients []wait.Arrival // with addresses of their own
	unclear []wait.Arrival // by the node's address, or only counted, and the probes
	views   int
}

func (s *soak) upTo(most ms) ms  { return ms(s.IntN(int(most))) }
func (s *soak) once(of int) bool { return s.IntN(of) == 0 }
func (s *soak) seconds(of ...ms) time.Duration {
	return time.Duration(of[s.IntN(len(of))]) * time.Second
}

func newSoak(r *rand.Rand) *soak {
	s := &soak{Rand: r, start: time.Now(), policy: defaults()}
	s.kernel = &sockets{start: s.start, asked: s.start}
	s.policy.Quiet = s.seconds(1, 2, 3, 5)
	s.policy.KeepaliveWait = s.seconds(0, 5, 15)
	if s.once(4) {
		s.policy.Min = s.seconds(2, 8)
	}
	if s.once(4) {
		s.policy.Drain = s.drain
	}
	if s.once(4) {
		most := s.IntN(2)
		s.policy.MaxOpen = &most
	}
	for range s.IntN(3) {
		s.probes = append(s.probes, wait.Probe{Port: 8080, Period: s.seconds(1, 2, 5, 10), Follows: true})
	}
	if !s.once(8) {
		s.control = &cluster{start: s.start, err: errors.New("connection refused")}
		s.say()
	}
	s.call()
	s.probe()
	switch s.IntN(12) {
	case 0:
		s.kernel.hangs = 1 + s.upTo(20_000)
	case 1:
		s.kernel.fails = 1 + s.upTo(20_000)
	case 2, 3:
		s.kernel.takes = time.Duration(s.upTo(700)) * time.Millisecond
	case 4:
		from := s.upTo(10_000)
		s.kernel.queue = [2]ms{from, from + s.upTo(10_000)}
		s.kernel.stuck = from * ms(s.IntN(2))
	}
	return s
}

// say is what the control plane says: the pod leaves rotation soon or late, comes back, has nobody
// to take over, or is not being deleted.
func (s *soak) say() {
	at, undeleted, two := 10+s.upTo(100), s.once(12), s.once(3)
	owner := []string{"ReplicaSet", "ReplicaSet", "StatefulSet"}[s.IntN(3)]
	grace := s.seconds(6, 10, 30, 30, 60)
	for range 1 + s.IntN(5) {
		s.control.says = append(s.control.says, says{at: at, view: views(func(v *wait.View) {
			v.Probes, v.Grace, v.Owner, v.Deleting = s.probes, grace, owner, !undeleted
			v.PodKnown = !s.once(20)
			if two {
				v.Services = append(v.Services, wait.Service{Name: "api", Serving: true})
			}
			for i := range v.Services {
				v.Services[i].InRotation = s.once(3)
				v.Services[i].Ready = s.IntN(2)
				v.Services[i].Coming = s.IntN(2)
				v.Services[i].Steady = max(0, s.IntN(4)-2)
				v.Services[i].StandBy = v.Services[i].Steady
				v.Services[i].Headless = s.once(8)
				v.Services[i].Unmanaged = s.once(10)
			}
		})})
		at += 20 + s.upTo(4000)
		undeleted = undeleted && !s.once(3)
		if s.once(10) {
			grace = s.seconds(6, 20)
		}
	}
	if s.once(10) {
		from := s.upTo(10_000)
		s.stop = [2]ms{from, from + s.upTo(20_000)}
	}
	if s.once(3) {
		from := s.upTo(10_000)
		s.control.silence = [2]ms{from, from + s.upTo(30_000)}
	}
}

// call is what clients do, until some time.
func (s *soak) call() {
	from, end, every := s.upTo(3000), s.upTo(25_000), 100+s.upTo(6000)
	regular, kind := s.once(5), s.IntN(8)
	if regular {
		every = 1000 * (1 + s.upTo(3))
	}
	next := func() ms {
		if regular {
			return every
		}
		return 1 + s.upTo(2*every)
	}
	for at := from; at < end; at += next() {
		a := wait.Arrival{At: at.of(s.start), Kind: wait.Connection, Conn: uint64(1_000_000 + at), Port: 8080}
		a.Peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 3, byte(s.IntN(4))}), 40000)
		if !regular {
			kind = s.IntN(8)
		}
		switch kind {
		case 0: // by way of the node's address
			a.Peer = netip.AddrPortFrom(nodeAddr, 40000)
			s.unclear = append(s.unclear, a)
		case 1: // only counted
			a.Peer, a.Port, a.Conn = netip.AddrPort{}, 0, 0
			s.unclear = append(s.unclear, a)
		case 2: // on an old connection
			a.Kind, a.Opened = wait.Request, s.start
			s.clients = append(s.clients, a)
		case 3: // and it stays
			s.kernel.open = append(s.kernel.open, open{a.Conn, a.Peer.Addr(), at, at + s.upTo(20_000)})
			fallthrough
		default:
			s.clients = append(s.clients, a)
		}
	}
	s.kernel.arrivals = append(s.kernel.arrivals, s.clients...)
}

// probe has the probes come, each a little late. A client by the node's address that comes when one
// is due cannot be told from it, so no client does.
func (s *soak) probe() {
	clients := s.unclear
	s.unclear = nil
	for _, p := range s.probes {
		period := ms(p.Period.Milliseconds())
		for due := s.upTo(period); due < 60_000; due += period {
			at := due + s.upTo(min(period/10, 200))
			a := connFrom(nodeAddr, at)(s.start)
			s.unclear = append(s.unclear, a)
			clients = without(clients, a.At)
		}
	}
	s.unclear = append(s.unclear, clients...)
	s.kernel.arrivals = append(s.kernel.arrivals, s.unclear...)
}

// without leaves out what came about then.
func without(arrivals []wait.Arrival, at time.Time) (rest []wait.Arrival) {
	for _, a := range arrivals {
		if a.At.Sub(at).Abs() > 400*time.Millisecond {
			rest = append(rest, a)
		}
	}
	return rest
}

func (s *soak) drain(ctx context.Context, made func(netip.AddrPort)) wait.Drained {
	made(netip.MustParseAddrPort("127.0.0.1:50000"))
	select {
	case <-time.After(time.Duration(s.upTo(4000)) * time.Millisecond):
	case <-ctx.Done():
	}
	return wait.Drained{Asked: "HUP"}
}

// View counts, so that a hook that spins is found: time does not pass meanwhile.
func (s *soak) View() (wait.View, <-chan struct{}) {
	s.views++
	if most := 100 + 15*int(time.Since(s.start).Seconds()); s.views > most {
		panic(fmt.Sprintf("the view is asked for %d times in %v", s.views, time.Since(s.start)))
	}
	if now := time.Now(); now.After(s.stop[0].of(s.start)) && now.Before(s.stop[1].of(s.start)) {
		time.Sleep(s.stop[1].of(s.start).Sub(now))
	}
	return s.control.View()
}

func (s *soak) run(t *testing.T) wait.Reason {
	var log bytes.Buffer
	s.policy.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.kernel.released = make(chan struct{})
	defer close(s.kernel.released)
	var c wait.Cluster
	if s.control != nil {
		c = s
	}
	o := s.policy.Run(t.Context(), c, s.kernel)
	held := time.Since(s.start)
	synctest.Wait() // for a look that was left behind
	if held != o.Held {
		t.Errorf("returned after %v, but held %v", held, o.Held)
	}
	for _, wrong := range s.judge(o) {
		t.Error(wrong)
	}
	if t.Failed() {
		t.Logf("%+v\nprobes %v\nasked at %v\n%s", o, s.probes, s.kernel.asked.Sub(s.start), log.String())
	}
	return o.Reason
}

// judge returns what is wrong with how the hook ended.
func (s *soak) judge(o wait.Outcome) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if o.Held > o.Budget && !s.isNews(o.Held) && o.Held > time.Duration(s.stop[1])*time.Millisecond {
		say("held %v, of a budget of %v", o.Held, o.Budget)
	}
	if looks := s.kernel.looks; looks > 10+5*int(o.Held.Seconds()) {
		say("looked %d times", looks)
	}
	end := s.start.Add(o.Held)
	looked := end.Add(-s.kernel.takes) // the last look cannot tell of later ones
	if o.Held == o.Budget && s.kernel.asked.Before(looked) {
		looked = s.kernel.asked // the time was up, and that look was for the story
	}
	if o.Reason != wait.Quiet {
		return wrong
	}
	for _, a := range s.clients {
		hold := a.At.Add(s.policy.Quiet)
		if pin := s.start.Add(o.Left + s.policy.KeepaliveWait); a.Kind == wait.Request && pin.Before(hold) {
			hold = pin
		}
		if s.isStuck(a, looked) {
			continue // the app accepts it no more than those before it
		}
		if a.Kind == wait.Request && s.policy.MaxOpen != nil && *s.policy.MaxOpen == 0 {
			continue // its connection holds as long as it is open
		}
		if !a.At.After(looked) && hold.After(end) && !s.hasRhythm(a.Peer.Addr()) {
			say("%s at %v held no window", a, a.At.Sub(s.start))
		}
	}
	if s.control != nil && s.control.silence[1] == 0 && s.stop[1] == 0 && end.Sub(s.sentUntil(end)) < s.policy.Quiet {
		say("clients were sent here until %v", s.sentUntil(end).Sub(s.start))
	}
	if came, most := s.came(end), s.mostProbes(); came > most {
		say("%d connections that may be probes' in the last window, where probes make %d at most", came, most)
	}
	return append(wrong, s.judgeOpen(o)...)
}

// isStuck reports whether a connection came to a port where the app had accepted nothing for a
// window.
func (s *soak) isStuck(a wait.Arrival, looked time.Time) bool {
	since := s.kernel.stuck.of(s.start)
	return s.kernel.stuck > 0 && a.Kind == wait.Connection && a.Port != 0 && looked.Sub(since) >= s.policy.Quiet
}

// isNews reports whether the control plane said something then: it may shorten the time that there
// is.
func (s *soak) isNews(held time.Duration) bool {
	for _, say := range s.control.says {
		if say.at.of(s.start).Equal(s.start.Add(held)) {
			return true
		}
	}
	return s.control.silence[1].of(s.start).Equal(s.start.Add(held))
}

// hasRhythm reports whether three connections of an address are each a probe's period apart, so
// that it passes for a prober.
func (s *soak) hasRhythm(addr netip.Addr) bool {
	for _, p := range s.probes {
		row, last := 1, time.Time{}
		for _, a := range s.clients {
			if a.Kind != wait.Connection || a.Peer.Addr() != addr {
				continue
			}
			if row++; (a.At.Sub(last) - p.Period).Abs() > p.Period/10 {
				row = 1
			}
			if last = a.At; row == 3 {
				return true
			}
		}
	}
	return false
}

// sentUntil is when the pod was in rotation last, or another one awaited. One that is not being
// deleted, and that its Services disagree about, may be neither.
func (s *soak) sentUntil(end time.Time) (last time.Time) {
	sent := false
	for _, say := range s.control.says {
		if say.at.of(s.start).After(end) {
			break
		}
		if sent {
			last = say.at.of(s.start)
		}
		v := say.view
		sent = slices.ContainsFunc(v.Services, func(w wait.Service) bool {
			if v.PodKnown && !v.Deleting {
				return w.InRotation && len(v.Services) == 1
			}
			return w.InRotation && !w.Unmanaged || w.Serving && !w.Headless && w.Ready == 0 && w.Coming > 0 && w.Steady == 0
		})
	}
	if sent {
		last = end
	}
	return last
}

// came counts the connections of the last window that may be a probe's.
func (s *soak) came(end time.Time) (n int) {
	for _, a := range s.unclear {
		if a.At.After(end.Add(-s.policy.Quiet)) && !a.At.After(s.kernel.asked) && !s.isStuck(a, s.kernel.asked) {
			n++
		}
	}
	return n
}

// mostProbes is how many probes there can be in a window, with lull's own connection, that may be
// taken for one that is only counted.
func (s *soak) mostProbes() (n int) {
	for _, p := range s.probes {
		n += int(s.policy.Quiet/p.Period) + 2
	}
	if s.policy.Drain != nil {
		n++
	}
	return n
}

// judgeOpen returns what is wrong with the number of connections that the hook left open.
func (s *soak) judgeOpen(o wait.Outcome) (wrong []string) {
	n := 0
	for _, c := range s.kernel.open {
		if !s.hasRhythm(c.peer) && !s.kernel.asked.Before(c.from.of(s.start)) && s.kernel.asked.Add(s.kernel.takes).Before(c.to.of(s.start)) {
			n++
		}
	}
	if most := s.policy.MaxOpen; most != nil && o.Reason == wait.Quiet && n > *most {
		wrong = append(wrong, fmt.Sprintf("%d connections are open, of %d at most", n, *most))
	}
	return wrong
}
