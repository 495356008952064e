package wait_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"lull/wait"
)

// ms is a point on a timeline, in milliseconds from the start of the hook.
type ms int

func (t ms) of(start time.Time) time.Time { return start.Add(time.Duration(t) * time.Millisecond) }

// says is what the control plane says from a time on.
type says struct {
	at   ms
	view wait.View
	page bool // of a list of slices that is not complete yet
}

// cluster answers all the time, but for the silence.
type cluster struct {
	start   time.Time
	says    []says
	silence [2]ms // from, to: no contact; nothing new is told
	err     error // why, during the silence
}

func (c *cluster) View() (wait.View, <-chan struct{}) {
	now := time.Now()
	from, to := c.silence[0].of(c.start), c.silence[1].of(c.start)
	silent := c.silence[1] > 0 && !now.Before(from) && now.Before(to)
	known := now
	if silent {
		known = from.Add(-1)
	}
	var v wait.View
	var next time.Time
	for _, t := range c.says {
		if at := t.at.of(c.start); !at.After(known) {
			v = t.view
			if t.page {
				v.SlicesContact = t.at.of(c.start)
			}
		} else if next.IsZero() && at.After(now) {
			next = at
		}
	}
	switch {
	case silent:
		v.Err = c.err
		if v.SlicesKnown {
			v.Contact = from
		}
		next = to
	case v.SlicesKnown:
		v.Contact = now
	}
	changed := make(chan struct{})
	if !next.IsZero() {
		time.AfterFunc(next.Sub(now), func() { close(changed) })
	}
	return v, changed
}

// sockets has the arrivals ready. A queue is a span during which a connection waits.
type sockets struct {
	start    time.Time
	arrivals []wait.Arrival
	queue    [2]ms
	stuck    ms            // since when nothing is accepted from it
	takes    time.Duration // how long a look takes
	hangs    ms            // from then on no look ends
	fails    ms            // from then on each look fails
	open     []open
	loads    []load // in place of a long list of arrivals

	busy     atomic.Bool
	asked    time.Time
	looks    int
	released chan struct{} // closed when the test is over
}

// load is an arrival every so often, from and to included.
type load struct {
	arrival         func(time.Time) wait.Arrival
	from, to, every ms
}

func (s *sockets) Arrivals(ctx context.Context, ports []uint16, yield func(wait.Arrival), open func(wait.Conn)) (bool, error) {
	if !s.busy.CompareAndSwap(false, true) {
		panic("called concurrently")
	}
	defer s.busy.Store(false)
	s.looks++
	if s.hangs > 0 && !time.Now().Before(s.hangs.of(s.start)) {
		<-s.released // not even the context ends it
	}
	if s.fails > 0 && !time.Now().Before(s.fails.of(s.start)) {
		return false, errors.New("netlink: no buffer space")
	}
	now := time.Now()
	for _, a := range s.all() {
		if a.At.After(s.asked) && !a.At.After(now) && (len(ports) == 0 || a.Port == 0 || slices.Contains(ports, a.Port)) {
			a.Count = max(1, a.Count)
			yield(a)
		}
	}
	s.asked = now
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
	}
	if now := time.Now(); s.queue[1] > 0 && !now.Before(s.queue[0].of(s.start)) && now.Before(s.queue[1].of(s.start)) {
		a := wait.Arrival{At: now, Kind: wait.Waiting, Port: 8080, Count: 1}
		if s.stuck > 0 {
			a.Since = s.stuck.of(s.start)
		}
		yield(a)
	}
	for _, o := range s.open {
		if open == nil {
			return false, ctx.Err()
		}
		if now := time.Now(); !now.Before(o.from.of(s.start)) && now.Before(o.to.of(s.start)) {
			open(wait.Conn{ID: o.conn, Opened: o.from.of(s.start), Port: 8080, Peer: netip.AddrPortFrom(o.peer, 40000)})
		}
	}
	return true, ctx.Err()
}

// Ended reports whether one of the open connections has ended since the last look.
func (s *sockets) Ended() bool {
	return slices.ContainsFunc(s.open, func(o open) bool {
		end := o.to.of(s.start)
		return end.After(s.asked) && !end.After(time.Now())
	})
}

// open is a connection that is open for a while, without any traffic.
type open struct {
	conn     uint64
	peer     netip.Addr
	from, to ms
}

func (s *sockets) all() []wait.Arrival {
	all := slices.Clone(s.arrivals)
	for _, l := range s.loads {
		for t := l.from; t <= l.to; t += l.every {
			a := l.arrival(s.start)
			a.At = t.of(s.start)
			if a.Kind == wait.Connection {
				a.Conn = uint64(t)
			}
			all = append(all, a)
		}
	}
	return all
}

var (
	nodeAddr   = netip.MustParseAddr("10.244.0.1")
	clientAddr = netip.MustParseAddr("10.0.3.7")
)

// conn is a new connection of a client.
func conn(at ms) func(time.Time) wait.Arrival { return connFrom(clientAddr, at) }

func connFrom(addr netip.Addr, at ms) func(time.Time) wait.Arrival {
	return func(start time.Time) wait.Arrival {
		return wait.Arrival{At: at.of(start), Kind: wait.Connection, Conn: uint64(at), Port: 8080, Peer: netip.AddrPortFrom(addr, 40000), Count: 1}
	}
}

// unnamed is a connection of which only a counter tells.
func unnamed(at ms) func(time.Time) wait.Arrival {
	return func(start time.Time) wait.Arrival {
		return wait.Arrival{At: at.of(start), Kind: wait.Connection, Count: 1}
	}
}

// unnamedBy is the same, counted at one time and known at another.
func unnamedBy(at, opened ms) func(time.Time) wait.Arrival {
	return func(start time.Time) wait.Arrival {
		return wait.Arrival{At: at.of(start), Kind: wait.Connection, Opened: opened.of(start), Count: 1}
	}
}

// request is one on a connection that was open at the given time.
func request(at, opened ms) func(time.Time) wait.Arrival {
	return func(start time.Time) wait.Arrival {
		return wait.Arrival{At: at.of(start), Kind: wait.Request, Conn: 7, Opened: opened.of(start), Port: 8080, Peer: netip.AddrPortFrom(clientAddr, 40000)}
	}
}

// requestOn is one on the connection that connFrom made.
func requestOn(addr netip.Addr, opened, at ms) func(time.Time) wait.Arrival {
	return func(start time.Time) wait.Arrival {
		a := request(at, opened)(start)
		a.Conn, a.Peer = uint64(opened), netip.AddrPortFrom(addr, 40000)
		return a
	}
}

// defaults is the policy of a hook without flags, in a pod.
func defaults() wait.Policy {
	return wait.Policy{
		Quiet: 5 * time.Second, KeepaliveWait: 15 * time.Second, Reserve: 10 * time.Second,
		Handover: wait.HandoverAuto, InPod: true,
	}
}

// other is an arrival of another kind, or on another port.
func other(a wait.Arrival) func(time.Time) wait.Arrival {
	return func(time.Time) wait.Arrival { return a }
}

func views(change func(*wait.View)) wait.View {
	v := wait.View{
		SlicesKnown: true, PodKnown: true, Deleting: true, Grace: 30 * time.Second,
		NodeAddrs: []netip.Addr{nodeAddr}, Ports: []wait.Port{{Number: 8080}},
		Services: []wait.Service{{Name: "web", Serving: true, Ready: 1}},
	}
	if change != nil {
		change(&v)
	}
	return v
}

func in(v *wait.View) { v.Services[0].InRotation = true }

// removed is the usual rollout: seen in rotation at 30 ms, out at 60 ms.
func removed(change func(*wait.View)) []says {
	both := func(v *wait.View) {
		if change != nil {
			change(v)
		}
	}
	return []says{
		{at: 30, view: views(func(v *wait.View) { both(v); v.Services[0].InRotation = true })},
		{at: 60, view: views(both)},
	}
}

// paging is a list of slices of which a page arrives every second.
func paging(seconds int) (all []says) {
	for s := range seconds {
		all = append(all, says{at: ms(s * 1000), view: wait.View{PodKnown: true, Deleting: true, Grace: 30 * time.Second}, page: true})
	}
	return all
}

func probing(periods ...time.Duration) func(*wait.View) {
	return func(v *wait.View) {
		for _, p := range periods {
			v.Probes = append(v.Probes, wait.Probe{Port: 8080, Period: p, Follows: true})
		}
	}
}

func probes(every ms) load {
	return load{connFrom(nodeAddr, 0), 200, 60_000, every}
}

func clients(from, to, every ms) load {
	return load{conn(0), from, to, every}
}
