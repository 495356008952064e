package wait_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"lull/wait"
)

// asks is a Drain that takes a while, and what came of it.
func asks(takes time.Duration, d wait.Drained, own ...netip.AddrPort) func(*wait.Policy) {
	return func(p *wait.Policy) {
		p.Drain = func(ctx context.Context, made func(netip.AddrPort)) wait.Drained {
			for _, o := range own {
				made(o)
			}
			select {
			case <-time.After(takes):
			case <-ctx.Done():
			}
			return d
		}
	}
}

// TestDrain: the app is asked once, when nobody is sent here any more, and the window begins anew
// when it was.
func TestDrain(t *testing.T) {
	hup := wait.Drained{Asked: "SIGHUP of process 1 (app)"}
	mine := netip.MustParseAddrPort("127.0.0.1:40000")
	url := wait.Drained{Asked: "POST http://127.0.0.1:8080/drain"}
	own := load{other(wait.Arrival{Kind: wait.Connection, Port: 8080, Peer: mine}), 80, 80, 1}
	counted := load{other(wait.Arrival{Kind: wait.Connection}), 80, 80, 1}
	for _, tl := range []timeline{
		{name: "a signal", policy: asks(0, hup), says: removed(nil), reason: wait.Quiet, held: 5060,
			story: []string{"asked the app to let its clients go: SIGHUP of process 1 (app)", "event=drain asked=\"SIGHUP of process 1 (app)\" at_s=0.06"}},
		{name: "nobody is connected", policy: asks(0, hup), says: removed(nil), reason: wait.Quiet, held: 5060, silent: []string{"let go, letting"}},
		{name: "a URL that takes a second", policy: asks(time.Second, url, mine), says: removed(nil), loads: []load{own}, reason: wait.Quiet, held: 6060},
		{name: "the connection that asks is nobody's", policy: asks(100*time.Millisecond, url, mine), says: removed(nil), loads: []load{own}, reason: wait.Quiet, held: 5160},
		{name: "nor is it where connections are only counted", policy: asks(100*time.Millisecond, url, mine), says: removed(nil), loads: []load{counted}, reason: wait.Quiet, held: 5160},
		{name: "another one of that time is a client's", policy: asks(100*time.Millisecond, url, mine), says: removed(nil), reason: wait.Quiet, held: 8000,
			loads: []load{own, {other(wait.Arrival{Kind: wait.Connection}), 3000, 3000, 1}}},
		{name: "the answer comes during a look", policy: asks(700*time.Millisecond, url), says: removed(nil), takes: 500 * time.Millisecond, queue: [2]ms{100, 1800},
			reason: wait.Quiet, held: 7060},
		{name: "another one that is counted while the app takes its time, which then fails", policy: asks(2*time.Second, wait.Drained{Err: errors.New("no answer")}, mine), says: removed(nil),
			loads: []load{counted, {other(wait.Arrival{Kind: wait.Connection}), 1500, 1500, 1}}, reason: wait.Quiet, held: 6500},
		{name: "another one that is counted in the same tick", policy: asks(2*time.Second, wait.Drained{Err: errors.New("no answer")}, mine), says: removed(nil),
			loads: []load{counted, {other(wait.Arrival{Kind: wait.Connection}), 90, 90, 1}}, reason: wait.Quiet, held: 5090},
		{name: "it takes longer than the window", policy: func(p *wait.Policy) { asks(1500*time.Millisecond, url)(p); p.Quiet = time.Second }, says: removed(nil), reason: wait.Quiet, held: 2560},
		{name: "it hangs, and nobody calls", policy: func(p *wait.Policy) { asks(time.Hour, url)(p); p.Quiet = time.Second }, says: removed(nil), reason: wait.Quiet, held: 3060},
		{name: "it fails", policy: asks(time.Second, wait.Drained{Err: errors.New("no permission")}), says: removed(nil), reason: wait.Quiet, held: 5060,
			story: []string{"cannot ask the app to let its clients go: no permission: going on without"}},
		{name: "it hangs", policy: asks(time.Hour, hup), says: removed(nil), loads: []load{clients(0, 60_000, 100)}, reason: wait.Budget, held: 20_000},
		{name: "after a handover", policy: asks(0, hup), says: []says{{at: 30, view: views(func(v *wait.View) { v.Services[0].Ready, v.Services[0].Coming = 0, 1 })}, {at: 4000, view: views(nil)}},
			reason: wait.Quiet, held: 9000, story: []string{"event=drain asked=\"SIGHUP of process 1 (app)\" at_s=4"}},
		{name: "never for a restart", policy: asks(0, hup), says: []says{{at: 30, view: views(func(v *wait.View) { in(v); v.Deleting = false })}}, reason: wait.Restart, held: 530,
			silent: []string{"event=drain"}},
		{name: "without the slices, at once", policy: asks(0, hup), noCluster: true, reason: wait.Quiet, held: 10_000, story: []string{"at_s=0 "}},
		{name: "without sockets", policy: asks(0, hup), noSockets: true, says: removed(nil), reason: wait.Slept, held: 15_060, story: []string{"event=drain"}},
		{name: "who let go and who did not", policy: asks(0, hup), says: removed(nil), reason: wait.Quiet, held: 5060,
			open:  []open{{1, clientAddr, 1, 1000}, {2, clientAddr, 1, 2000}, {3, clientAddr, 1, 60_000}, {4, clientAddr, 1500, 60_000}},
			story: []string{"2 of 3 open connections have let go", "open=2"}},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestFirstSinceDrain: a connection's first request since the app was asked to let its clients go
// holds the exit whatever KeepaliveWait is, which counts from there. A router that has many pooled
// connections and few requests uses up one of them with each, and opens none.
func TestFirstSinceDrain(t *testing.T) {
	hup := wait.Drained{Asked: "SIGHUP of process 1 (app)"}
	keepalive := func(d time.Duration, drained wait.Drained) func(*wait.Policy) {
		return func(p *wait.Policy) {
			asks(0, drained)(p)
			p.KeepaliveWait = d
		}
	}
	on := func(conn uint64, opened, from, to, every ms) (all []func(time.Time) wait.Arrival) {
		for at := from; at <= to; at += every {
			all = append(all, func(start time.Time) wait.Arrival {
				a := request(at, opened)(start)
				a.Conn = conn
				return a
			})
		}
		return all
	}
	var pool []func(time.Time) wait.Arrival
	for at := ms(500); at <= 12_000; at += 500 {
		pool = append(pool, on(uint64(at), 1, at, at, 1)...)
	}
	for _, tl := range []timeline{
		{name: "a pool is used up", policy: keepalive(0, hup), says: removed(nil), arrivals: pool, reason: wait.Quiet, held: 17_000,
			silent: []string{"longer than"}},
		{name: "without draining that is not waited for", policy: func(p *wait.Policy) { p.KeepaliveWait = 0 }, says: removed(nil), arrivals: pool, reason: wait.Quiet, held: 5060},
		{name: "nor if the app could not be asked", policy: keepalive(0, wait.Drained{Err: errors.New("no permission")}), says: removed(nil), arrivals: pool, reason: wait.Quiet, held: 5060},
		{name: "a second request on a connection is on a pinned one", policy: keepalive(0, hup), says: removed(nil), arrivals: append(on(7, 1, 3000, 3000, 1), on(7, 1, 7000, 7000, 1)...),
			reason: wait.Quiet, held: 8000, story: []string{"1 open connection is used by 10.0.3.7, longer than --keepalive-wait=0s waits"}},
		{name: "who never lets go is pinned", policy: keepalive(2*time.Second, hup), says: removed(nil), arrivals: on(7, 1, 100, 30_000, 100), reason: wait.Quiet, held: 6000,
			story: []string{"longer than --keepalive-wait=2s waits"}},
		{name: "one that was opened since has had its first", policy: keepalive(0, hup), says: removed(nil), reason: wait.Quiet, held: 8000,
			arrivals: append([]func(time.Time) wait.Arrival{conn(3000)}, on(3000, 3000, 6000, 6000, 1)...)},
		{name: "what came before the app was asked is not its first", policy: keepalive(0, hup), says: removed(nil), reason: wait.Quiet, held: 5060,
			arrivals: on(7, 1, 40, 40, 1)},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestMaxOpen: after the window the hook goes on until few connections are open.
func TestMaxOpen(t *testing.T) {
	most := func(n int) func(*wait.Policy) { return func(p *wait.Policy) { p.MaxOpen = &n } }
	until := func(to ms) []open { return []open{{1, clientAddr, 1, to}} }
	for _, tl := range []timeline{
		{name: "none is open", policy: most(0), says: removed(nil), reason: wait.Quiet, stage: wait.Lull, held: 5060},
		{name: "a WebSocket that its client leaves after 9 s", policy: most(0), says: removed(nil), open: until(9000), reason: wait.Quiet, held: 9060,
			story: []string{"quiet, but 1 connection is open: waiting for at most 0"}},
		{name: "a WebSocket whose client says goodbye", policy: most(0), says: removed(nil), open: until(9000), reason: wait.Quiet, held: 9060,
			arrivals: []func(time.Time) wait.Arrival{request(9000, 0)}},
		{name: "one that is allowed says something", policy: most(1), says: removed(nil), open: []open{{1, clientAddr, 1, 60_000}, {2, clientAddr, 1, 9000}}, reason: wait.Quiet, held: 13_000,
			arrivals: []func(time.Time) wait.Arrival{request(8000, 0)}},
		{name: "one is allowed", policy: most(1), says: removed(nil), open: until(9000), reason: wait.Quiet, held: 5060},
		{name: "any may be open", says: removed(nil), open: until(9000), reason: wait.Quiet, held: 5060},
		{name: "to the end of the budget", policy: most(0), says: removed(nil), open: until(60_000), reason: wait.StillOpen, stage: wait.Closing, held: 20_000,
			story: []string{"quiet, but 1 connection was open to the end of the budget"}},
		{name: "the number goes down", policy: most(0), says: removed(nil), reason: wait.Quiet, held: 12_060,
			open:  []open{{1, clientAddr, 1, 8000}, {2, clientAddr, 1, 10_000}, {3, clientAddr, 1, 12_000}},
			story: []string{"3 connections are open", "2 connections are open", "1 connection is open"}},
		{name: "a probe's is none", policy: most(0), says: removed(probing(time.Second)), loads: []load{probes(1000)}, reason: wait.Quiet, held: 5060,
			open: []open{{4200, nodeAddr, 4200, 60_000}}},
		{name: "a client's that opens beside the probes", policy: most(0), says: removed(probing(time.Second)), loads: []load{probes(1000)},
			arrivals: []func(time.Time) wait.Arrival{conn(1500)}, open: []open{{1500, clientAddr, 1500, 12_000}}, reason: wait.Quiet, held: 12_000},
		{name: "nor is one of an address that has a probe's rhythm", policy: most(0), says: removed(probing(time.Second)), loads: []load{clients(200, 60_000, 1000)},
			open: []open{{3200, clientAddr, 3200, 60_000}}, reason: wait.Quiet, held: 6200},
		{name: "an ignored client's is none", reason: wait.Quiet, held: 5060, says: removed(nil), open: until(60_000),
			policy: func(p *wait.Policy) { most(0)(p); p.Ignore = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }},
		{name: "one where nobody can take over", policy: most(0), says: []says{{at: 30, view: views(func(v *wait.View) { v.Owner, v.Services[0].Ready = "StatefulSet", 0 })}}, open: until(60_000),
			loads: []load{clients(100, 60_000, 100)}, reason: wait.StillOpen, held: 20_000, silent: []string{"quiet, but"},
			story: []string{"out of rotation for 5s, but 1 connection is open: waiting for at most 0", "out of rotation for 20s, but 1 connection was open to the end of the budget"}},
		{name: "a client comes meanwhile", policy: most(0), says: removed(nil), open: until(9000), arrivals: []func(time.Time) wait.Arrival{conn(7000)}, reason: wait.Quiet, held: 12_000},
		{name: "never quiet is still a failure", policy: most(0), says: removed(nil), open: until(60_000), loads: []load{clients(0, 60_000, 100)}, reason: wait.Budget, stage: wait.Lull, held: 20_000},
		{name: "without sockets", policy: most(0), says: removed(nil), noSockets: true, reason: wait.Slept, held: 15_060},
	} {
		t.Run(tl.name, tl.run)
	}
}
