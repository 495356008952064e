package wait_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lull/wait"
)

// timeline is a rollout and when the hook must end in it.
type timeline struct {
	name   string
	policy func(*wait.Policy)

	noCluster bool
	turns     []turn
	silence   [2]ms
	err       error

	noSockets bool
	arrivals  []func(time.Time) wait.Arrival
	loads     []load
	queue     [2]ms
	takes     time.Duration
	hangs     ms
	fails     ms

	reason wait.Reason
	stage  wait.Stage
	held   ms
	story  []string // lines that must be in it
}

func (tl timeline) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		policy := defaults()
		if tl.policy != nil {
			tl.policy(&policy)
		}
		var log bytes.Buffer
		policy.Log = slog.New(slog.NewTextHandler(&log, nil))
		var c wait.Cluster
		if !tl.noCluster {
			c = &cluster{start: start, turns: tl.turns, silence: tl.silence, err: tl.err}
		}
		var s wait.Sockets
		if !tl.noSockets {
			fake := &sockets{start: start, asked: start, loads: tl.loads, queue: tl.queue, takes: tl.takes, hangs: tl.hangs, fails: tl.fails, released: make(chan struct{})}
			defer close(fake.released)
			for _, a := range tl.arrivals {
				fake.arrivals = append(fake.arrivals, a(start))
			}
			s = fake
		}
		o := policy.Run(t.Context(), c, s)
		if held := ms(o.Held.Milliseconds()); o.Reason != tl.reason || held != tl.held || (tl.stage != 0 && o.Stage != tl.stage) {
			t.Errorf("ended with %v in stage %v after %d ms, want %v in %v after %d ms\n%s", o.Reason, o.Stage, held, tl.reason, tl.stage, tl.held, log.String())
		}
		if took := time.Since(start); took != o.Held {
			t.Errorf("returned after %v, but held %v", took, o.Held)
		}
		for _, want := range tl.story {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the story lacks %q:\n%s", want, log.String())
			}
		}
	})
}

func views(change func(*wait.View)) wait.View {
	v := wait.View{
		SlicesKnown: true, PodKnown: true, Deleting: true, Grace: 30 * time.Second,
		NodeAddrs: []netip.Addr{nodeAddr}, Ports: []uint16{8080},
		Services: []wait.Service{{Name: "web", Serving: true, Ready: 1}},
	}
	if change != nil {
		change(&v)
	}
	return v
}

func in(v *wait.View) { v.Services[0].InRotation = true }

// removed is the usual rollout: seen in rotation at 30 ms, out at 60 ms.
func removed(change func(*wait.View)) []turn {
	both := func(v *wait.View) {
		if change != nil {
			change(v)
		}
	}
	return []turn{
		{30, views(func(v *wait.View) { both(v); v.Services[0].InRotation = true })},
		{60, views(both)},
	}
}

func probing(periods ...time.Duration) func(*wait.View) {
	return func(v *wait.View) {
		for _, p := range periods {
			v.Probes = append(v.Probes, wait.Probe{Port: 8080, Period: p})
		}
	}
}

func probes(every ms) load {
	return load{connFrom(nodeAddr, 0), 200, 60_000, every}
}

func clients(from, to, every ms) load {
	return load{conn(0), from, to, every}
}

func TestRemoval(t *testing.T) {
	for _, tl := range []timeline{
		{
			name: "out at once, no traffic", turns: removed(nil),
			reason: wait.Quiet, stage: wait.Lull, held: 5060,
			story: []string{"out of rotation after 0.1s (Service web)", "letting SIGTERM through after 5.1s of 20s", "grace period 30s less 10s"},
		},
		{
			name: "a slow control plane", turns: []turn{{30, views(in)}, {4000, views(nil)}},
			reason: wait.Quiet, held: 9000,
		},
		{
			name: "never out", turns: []turn{{30, views(in)}},
			reason: wait.Budget, stage: wait.Removal, held: 20_000,
			story: []string{"ran out while waiting for the pod to leave rotation"},
		},
		{
			name: "two Services, one late",
			turns: []turn{
				{30, views(func(v *wait.View) {
					v.Services = []wait.Service{{Name: "api", InRotation: true, Ready: 1}, {Name: "web", InRotation: true, Ready: 1}}
				})},
				{60, views(func(v *wait.View) {
					v.Services = []wait.Service{{Name: "api", Ready: 1}, {Name: "web", InRotation: true, Ready: 1}}
				})},
				{3000, views(func(v *wait.View) {
					v.Services = []wait.Service{{Name: "api", Ready: 1}, {Name: "web", Ready: 1}}
				})},
			},
			reason: wait.Quiet, held: 8000, story: []string{"Services api, web"},
		},
		{
			name: "back in rotation and out again",
			turns: []turn{
				{30, views(nil)}, {2000, views(in)}, {3000, views(nil)},
			},
			reason: wait.Quiet, held: 8000, story: []string{"back in rotation (Service web)"},
		},
		{
			name:   "publishNotReadyAddresses",
			turns:  []turn{{30, views(func(v *wait.View) { v.Services[0].AlwaysReady = true })}},
			reason: wait.Quiet, held: 5030, story: []string{"published ready or not"},
		},
		{
			name:   "in no Service",
			turns:  []turn{{30, views(func(v *wait.View) { v.Services = nil })}},
			reason: wait.Quiet, held: 5030, story: []string{"in no Service's EndpointSlices"},
		},
		{
			name:   "not deleted and in rotation",
			turns:  []turn{{30, views(func(v *wait.View) { in(v); v.Deleting = false })}},
			loads:  []load{clients(0, 60_000, 100)},
			reason: wait.Restart, held: 530, story: []string{"its container is being restarted"},
		},
		{
			name:   "evicted by the kubelet",
			turns:  []turn{{30, views(func(v *wait.View) { in(v); v.Deleting = false; v.Disrupted = "TerminationByKubelet" })}},
			reason: wait.Restart, held: 530, story: []string{"evicted (TerminationByKubelet)"},
		},
		{
			name: "its time is up, and the slices tell a moment later",
			turns: []turn{
				{30, views(func(v *wait.View) { in(v); v.Deleting = false })},
				{500, views(func(v *wait.View) { v.Deleting = false })},
			},
			reason: wait.Quiet, held: 5500, story: []string{"though not being deleted"},
		},
		{
			name: "deleted a moment after its container failed",
			turns: []turn{
				{30, views(func(v *wait.View) { in(v); v.Deleting = false })},
				{300, views(in)}, {700, views(nil)},
			},
			reason: wait.Quiet, held: 5700,
		},
		{
			name:   "not deleted and out of rotation",
			turns:  []turn{{30, views(func(v *wait.View) { v.Deleting = false; v.Ended = "Failed: DeadlineExceeded" })}},
			reason: wait.Quiet, held: 5030, story: []string{"though not being deleted (Failed: DeadlineExceeded)"},
		},
		{
			name: "ended, its addresses always published",
			turns: []turn{
				{30, views(func(v *wait.View) { in(v); v.Deleting = false; v.Ended = "Failed: DeadlineExceeded" })},
			},
			reason: wait.Quiet, held: 5530, story: []string{"published ready or not", "though not being deleted"},
		},
		{
			name: "its time is up, and another Service publishes it ready or not",
			turns: []turn{
				{30, views(func(v *wait.View) {
					v.Deleting = false
					v.Services = []wait.Service{{Name: "all", InRotation: true}, {Name: "web", InRotation: true}}
				})},
				{100, views(func(v *wait.View) {
					v.Deleting = false
					v.Services = []wait.Service{{Name: "all", InRotation: true}, {Name: "web"}}
				})},
			},
			loads:  []load{clients(0, 3000, 10)},
			reason: wait.Quiet, held: 8000, story: []string{"Service all: addresses are published ready or not", "though not being deleted"},
		},
		{
			name:    "in rotation, and then the API server is silent",
			turns:   []turn{{30, views(func(v *wait.View) { in(v); v.Deleting = false })}},
			silence: [2]ms{100, 60_000},
			loads:   []load{clients(0, 12_000, 10)},
			reason:  wait.Quiet, held: 17_000, story: []string{"can't be seen"},
		},
		{
			name:   "slices known, pod not",
			turns:  []turn{{30, views(func(v *wait.View) { in(v); v.PodKnown = false; v.Deleting = false })}, {60, views(func(v *wait.View) { v.PodKnown = false; v.Deleting = false })}},
			reason: wait.Quiet, held: 5060,
		},
		{
			name: "slices known before the pod, which is not being deleted",
			turns: []turn{
				{30, views(func(v *wait.View) { in(v); v.PodKnown = false; v.Deleting = false })},
				{40, views(func(v *wait.View) { in(v); v.Deleting = false })},
			},
			reason: wait.Restart, held: 540,
		},
	} {
		t.Run(tl.name, tl.run)
	}
}

func TestLull(t *testing.T) {
	for _, tl := range []timeline{
		{
			name: "traffic until 3 s", turns: removed(nil), loads: []load{clients(0, 3000, 10)},
			reason: wait.Quiet, held: 8000, story: []string{"last arrival 4.1s ago: new connection from 10.0.3.7 to :8080"},
		},
		{
			name: "arrival in the last millisecond of the window", turns: removed(nil),
			arrivals: []func(time.Time) wait.Arrival{conn(5059)},
			reason:   wait.Quiet, held: 10_059,
		},
		{
			name: "arrival as the window ends", turns: removed(nil),
			arrivals: []func(time.Time) wait.Arrival{conn(5060)},
			reason:   wait.Quiet, held: 10_060,
		},
		{
			name: "arrival while the last look is under way", turns: removed(nil), takes: 100 * time.Millisecond,
			arrivals: []func(time.Time) wait.Arrival{conn(5000)},
			reason:   wait.Quiet, held: 10_100,
		},
		{
			name: "other ports' traffic", turns: removed(nil),
			loads:  []load{{other(wait.Arrival{Kind: wait.Connection, Port: 9090}), 0, 60_000, 100}},
			reason: wait.Quiet, held: 5060,
		},
		{
			name: "min", policy: func(p *wait.Policy) { p.Min = 12 * time.Second }, turns: removed(nil),
			reason: wait.Quiet, held: 12_060,
		},
		{
			name: "min of a pod that leaves late", policy: func(p *wait.Policy) { p.Min = 12 * time.Second },
			turns:  []turn{{30, views(in)}, {3000, views(nil)}},
			reason: wait.Quiet, held: 15_000,
		},
		{
			name: "min shorter than the window", policy: func(p *wait.Policy) { p.Min = time.Second }, turns: removed(nil),
			reason: wait.Quiet, held: 5060,
		},
		{
			name: "a connection waits in the accept queue", turns: removed(nil), queue: [2]ms{4000, 5100},
			reason: wait.Quiet, held: 10_060, story: []string{"connection waiting in the accept queue to :8080"},
		},
		{
			name: "an app that accepts no more", turns: removed(nil), queue: [2]ms{100, 60_000},
			reason: wait.Budget, stage: wait.Lull, held: 20_000,
		},
		{
			name: "connections dropped", turns: removed(nil),
			loads:  []load{{other(wait.Arrival{Kind: wait.Dropped, Port: 8080}), 3000, 3000, 1}},
			reason: wait.Quiet, held: 8000, story: []string{"dropped by a full accept queue"},
		},
		{
			name: "lost events", turns: removed(nil),
			loads:  []load{{other(wait.Arrival{Kind: wait.Lost}), 3000, 3000, 1}},
			reason: wait.Quiet, held: 8000,
		},
		{
			name: "ignored clients", turns: removed(nil),
			policy: func(p *wait.Policy) { p.Ignore = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
			loads:  []load{clients(0, 60_000, 50)},
			reason: wait.Quiet, held: 5060, story: []string{"10.0.3.7, named by --ignore"},
		},
		{
			name: "a flood", turns: removed(nil), loads: []load{clients(0, 60_000, 1)},
			reason: wait.Budget, stage: wait.Lull, held: 20_000, story: []string{"last seen 0.3s ago, new connection from 10.0.3.7 to :8080"},
		},
		{
			name: "interleaved flood beyond what is told apart", turns: removed(nil),
			loads:  []load{clients(0, 4000, 1), {other(wait.Arrival{Kind: wait.Connection, Port: 8080}), 0, 4000, 1}},
			reason: wait.Quiet, held: 9000,
		},
	} {
		t.Run(tl.name, tl.run)
	}
}

func TestKeepalive(t *testing.T) {
	old := func(from, to, every ms) load { return load{request(0, 0), from, to, every} }
	for _, tl := range []timeline{
		{
			name: "requests end", turns: removed(nil), loads: []load{old(0, 4000, 100)},
			reason: wait.Quiet, held: 9000, story: []string{"request on an open connection from 10.0.3.7 to :8080"},
		},
		{
			name: "pinned", turns: removed(nil), loads: []load{old(0, 60_000, 100)},
			reason: wait.Quiet, held: 15_060, story: []string{"in use for more than 15s since"},
		},
		{
			name: "pinned, with nothing since the look before", turns: removed(nil),
			arrivals: []func(time.Time) wait.Arrival{request(2000, 0), request(6000, 0), request(10_000, 0), request(12_000, 0)},
			reason:   wait.Quiet, held: 15_060, story: []string{"no new connection, and those in use for more than 15s only the app can end"},
		},
		{
			name: "pinned, with a new connection at 14 s", turns: removed(nil),
			loads: []load{old(0, 60_000, 100)}, arrivals: []func(time.Time) wait.Arrival{conn(14_000)},
			reason: wait.Quiet, held: 19_000,
		},
		{
			name:     "a connection opened after the removal counts from then",
			turns:    removed(nil),
			arrivals: []func(time.Time) wait.Arrival{conn(3000)},
			loads:    []load{{request(0, 3000), 3100, 60_000, 100}},
			reason:   wait.Quiet, held: 18_000,
		},
		{
			name: "connections only", turns: removed(nil), policy: func(p *wait.Policy) { p.KeepaliveWait = 0 },
			loads:  []load{old(0, 60_000, 100)},
			reason: wait.Quiet, held: 5060,
		},
		{
			name: "left late: counted from then", turns: []turn{{30, views(in)}, {4000, views(nil)}},
			policy: func(p *wait.Policy) { p.KeepaliveWait = 10 * time.Second },
			loads:  []load{old(0, 60_000, 100)},
			reason: wait.Quiet, held: 14_000,
		},
	} {
		t.Run(tl.name, tl.run)
	}
}

func TestProbes(t *testing.T) {
	at := func(addr netip.Addr, every ms) load {
		return load{connFrom(addr, 0), 200, 60_000, every}
	}
	stranger := netip.MustParseAddr("169.254.20.10")
	for _, tl := range []timeline{
		{name: "every second", turns: removed(probing(time.Second)), loads: []load{probes(1000)}, reason: wait.Quiet, held: 5060,
			story: []string{"from 10.244.0.1, readiness probes"}},
		{name: "every 2 s", turns: removed(probing(2 * time.Second)), loads: []load{probes(2000)}, reason: wait.Quiet, held: 5060},
		{name: "every 10 s", turns: removed(probing(10 * time.Second)), loads: []load{probes(10_000)}, reason: wait.Quiet, held: 5060},
		{name: "two probes on the port", turns: removed(probing(time.Second, time.Second)), loads: []load{probes(500)}, reason: wait.Quiet, held: 5060},
		{name: "jitter", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), connFrom(nodeAddr, 1290), connFrom(nodeAddr, 2201), connFrom(nodeAddr, 3250), connFrom(nodeAddr, 4195),
			}},
		{name: "a probe caught in the middle by a look", turns: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 5030), requestOn(nodeAddr, 5030, 5045)}},
		{name: "a client from the node's address caught in the middle by a look", turns: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 10_050,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 1100), requestOn(nodeAddr, 1100, 5050)}},
		{name: "a client caught in the middle by a look", turns: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 10_045,
			arrivals: []func(time.Time) wait.Arrival{conn(5030), requestOn(clientAddr, 5030, 5045)}},
		{name: "the first seen was late", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 400), connFrom(nodeAddr, 1180), connFrom(nodeAddr, 2180), connFrom(nodeAddr, 3180), connFrom(nodeAddr, 4180),
			}},
		{name: "one so late that the next follows at once", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), connFrom(nodeAddr, 1200), connFrom(nodeAddr, 3300), connFrom(nodeAddr, 3310), connFrom(nodeAddr, 4200),
			}},
		{name: "two clients after a missed probe", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 8320,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), connFrom(nodeAddr, 1200), connFrom(nodeAddr, 3300), connFrom(nodeAddr, 3310), connFrom(nodeAddr, 3320),
			}},
		{name: "a probe's request", turns: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 1055), requestOn(nodeAddr, 1055, 1062), // a look at 1060 comes between them
			}},
		{name: "a client from the node's address on top", turns: removed(probing(time.Second)), loads: []load{probes(1000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 3500)}, reason: wait.Quiet, held: 8500},
		{name: "a client from the node's address on top of slow probes", turns: removed(probing(10 * time.Second)), loads: []load{probes(10_000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 4900)}, reason: wait.Quiet, held: 9900},
		{name: "a client with twice the probes' rhythm", turns: removed(probing(time.Second)), loads: []load{probes(500)}, reason: wait.Budget, held: 20_000},
		{name: "no probe known", turns: removed(nil), loads: []load{probes(1000)}, reason: wait.Budget, held: 20_000},
		{name: "a probe of another port", turns: removed(func(v *wait.View) { v.Probes = []wait.Probe{{Port: 9090, Period: time.Second}} }),
			loads: []load{probes(1000)}, reason: wait.Budget, held: 20_000},
		{name: "a strange address with the probes' rhythm", turns: removed(probing(time.Second)), loads: []load{at(stranger, 1000)}, reason: wait.Quiet, held: 6200,
			story: []string{"from 169.254.20.10, readiness probes"}},
		{name: "a strange address with the probes' rhythm, after a crowd of strangers", turns: removed(probing(time.Second)),
			loads: []load{at(stranger, 1000)}, arrivals: strangers(1000), reason: wait.Quiet, held: 6200},
		{name: "two of a rhythm are not enough", turns: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 7200,
			arrivals: []func(time.Time) wait.Arrival{connFrom(stranger, 200), connFrom(stranger, 2200)}},
		{name: "a strange address with a rhythm and something else", turns: removed(probing(time.Second)), loads: []load{at(stranger, 1000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(stranger, 3500)}, reason: wait.Quiet, held: 8500},
		{name: "a strange address with another rhythm", turns: removed(probing(2 * time.Second)), loads: []load{at(stranger, 1000)}, reason: wait.Budget, held: 20_000},
		{name: "some of unknown peer", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), unnamed(1260), unnamed(2290), connFrom(nodeAddr, 3210), unnamed(4270),
			}},
		{name: "a client of unknown peer off the beat", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 8600,
			loads: []load{probes(1000)}, arrivals: []func(time.Time) wait.Arrival{unnamed(3600)}},
		{name: "a client of unknown peer on the beat, on top of the probe", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 8270,
			loads: []load{probes(1000)}, arrivals: []func(time.Time) wait.Arrival{unnamed(3270)}},
		{name: "a client of unknown peer, no probe seen yet", turns: removed(probing(10 * time.Second)), reason: wait.Quiet, held: 6000,
			arrivals: []func(time.Time) wait.Arrival{unnamed(1000)}},
		{name: "all of unknown peer", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 6230,
			arrivals: []func(time.Time) wait.Arrival{unnamed(250), unnamed(1230), unnamed(2260), unnamed(3270), unnamed(4280)}},
		{name: "of unknown peer, their data perhaps newer", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 6060,
			policy:   func(p *wait.Policy) { p.Quiet = 6 * time.Second },
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 200), unnamedBy(5000, 1260), unnamedBy(5000, 2290), unnamedBy(5000, 3270), connFrom(nodeAddr, 4210)}},
		{name: "a client of unknown peer, its data perhaps newer", turns: removed(probing(time.Second)), reason: wait.Quiet, held: 10_000,
			loads: []load{probes(1000)}, arrivals: []func(time.Time) wait.Arrival{unnamedBy(5000, 3600)}},
		{name: "no API: the node's address with a whole second's rhythm", noCluster: true,
			policy: func(p *wait.Policy) { p.NodeAddrs = []netip.Addr{nodeAddr} }, loads: []load{probes(2000)}, reason: wait.Quiet, held: 10_000},
		{name: "no API: some of unknown peer", noCluster: true, policy: func(p *wait.Policy) { p.NodeAddrs = []netip.Addr{nodeAddr} }, reason: wait.Quiet, held: 10_000,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), connFrom(nodeAddr, 2200), unnamed(4290), connFrom(nodeAddr, 6210), unnamed(8150),
			}},
		{name: "no API: a client of unknown peer off the beat", noCluster: true, policy: func(p *wait.Policy) { p.NodeAddrs = []netip.Addr{nodeAddr} },
			loads: []load{probes(2000)}, arrivals: []func(time.Time) wait.Arrival{unnamed(9000)}, reason: wait.Quiet, held: 14_000},
		{name: "no API: a client of unknown peer on top of the probe", noCluster: true, policy: func(p *wait.Policy) { p.NodeAddrs = []netip.Addr{nodeAddr} },
			loads: []load{probes(2000)}, arrivals: []func(time.Time) wait.Arrival{unnamed(8290)}, reason: wait.Quiet, held: 13_290},
		{name: "no API: a client with the rhythm", noCluster: true,
			policy: func(p *wait.Policy) { p.NodeAddrs = []netip.Addr{nodeAddr} }, loads: []load{at(stranger, 2000)}, reason: wait.Budget, held: 20_000},
		{name: "no Kubernetes: everybody is a client", noCluster: true,
			policy: func(p *wait.Policy) { p.InPod = false; p.NodeAddrs = []netip.Addr{nodeAddr} }, loads: []load{probes(2000)}, reason: wait.Budget, held: 20_000},
	} {
		t.Run(tl.name, tl.run)
	}
}

func TestHandover(t *testing.T) {
	mode := func(m wait.HandoverMode) func(*wait.Policy) {
		return func(p *wait.Policy) { p.Handover = m }
	}
	others := func(ready, coming int) wait.View {
		return views(func(v *wait.View) { v.Services[0].Ready, v.Services[0].Coming = ready, coming })
	}
	replaced := []turn{{30, views(in)}, {60, others(0, 1)}, {4000, others(1, 0)}}
	alone := []turn{{30, others(0, 0)}}
	for _, tl := range []timeline{
		{name: "auto, a replacement on its way", turns: replaced, loads: []load{clients(0, 4500, 10)}, reason: wait.Quiet, held: 9500,
			story: []string{"no other endpoint is ready (Service web)", "nobody has to be waited for any more after 4s"}},
		{name: "auto, no traffic either", turns: replaced, reason: wait.Quiet, held: 9000},
		{name: "auto, none on its way", turns: alone, reason: wait.Quiet, held: 5030},
		{name: "auto, one that shows up late", turns: []turn{{30, others(0, 0)}, {2000, others(0, 1)}, {6000, others(1, 0)}}, reason: wait.Quiet, held: 11_000},
		{name: "auto, one that never becomes ready", turns: []turn{{30, others(0, 1)}}, reason: wait.Budget, stage: wait.Handover, held: 20_000},
		{name: "auto, one that is given up", turns: []turn{{30, others(0, 1)}, {3000, others(0, 0)}}, reason: wait.Quiet, held: 8000},
		{name: "auto, nobody would be routed here", turns: []turn{{30, views(func(v *wait.View) { v.Services[0] = wait.Service{Name: "web", Coming: 1} })}}, reason: wait.Quiet, held: 5030},
		{name: "auto, not being deleted", turns: []turn{{30, views(func(v *wait.View) {
			v.Deleting = false
			v.Services[0] = wait.Service{Name: "web", Serving: true, Coming: 1}
		})}}, reason: wait.Quiet, held: 5030},
		{name: "always, none on its way", policy: mode(wait.HandoverAlways), turns: alone, reason: wait.Budget, stage: wait.Handover, held: 20_000},
		{name: "always, one appears", policy: mode(wait.HandoverAlways), turns: []turn{{30, others(0, 0)}, {5000, others(0, 1)}, {9000, others(1, 0)}}, reason: wait.Quiet, held: 14_000},
		{name: "never", policy: mode(wait.HandoverNever), turns: replaced, reason: wait.Quiet, held: 5060},
	} {
		t.Run(tl.name, tl.run)
	}
}

func TestBudget(t *testing.T) {
	grace := func(d time.Duration) func(*wait.View) { return func(v *wait.View) { v.Grace = d } }
	flood := []load{clients(0, 200_000, 10)}
	for _, tl := range []timeline{
		{name: "in the removal", turns: []turn{{30, views(in)}}, loads: flood, reason: wait.Budget, stage: wait.Removal, held: 20_000},
		{name: "in the lull, grace period 60 s", turns: removed(grace(time.Minute)), loads: flood, reason: wait.Budget, stage: wait.Lull, held: 50_000},
		{name: "reserve is at most half", turns: removed(grace(8 * time.Second)), loads: flood, reason: wait.Budget, held: 4000,
			story: []string{"at least 5s of waiting do not fit in: raise terminationGracePeriodSeconds"}},
		{name: "no grace period at all", turns: removed(grace(0)), reason: wait.Budget, held: 30},
		{name: "grace shortened", loads: flood, reason: wait.Budget, held: 14_000,
			turns: []turn{{30, views(nil)}, {3000, views(grace(24 * time.Second))}}},
		{name: "grace shortened to what has passed", loads: flood, reason: wait.Budget, held: 9000,
			turns: []turn{{30, views(nil)}, {9000, views(grace(12 * time.Second))}}},
		{name: "grace shortened while a look is under way", loads: flood, takes: 4 * time.Second, reason: wait.Budget, held: 7000,
			turns: []turn{{30, views(nil)}, {7000, views(grace(12 * time.Second))}}},
		{name: "grace shortened while a look hangs", loads: flood, hangs: 4000, reason: wait.Budget, held: 14_000,
			turns: []turn{{30, views(nil)}, {7000, views(grace(24 * time.Second))}}},
		{name: "grace shortened in good time while a look is under way", loads: flood, takes: 3 * time.Second, reason: wait.Budget, held: 6000,
			turns: []turn{{30, views(nil)}, {5500, views(grace(12 * time.Second))}}},
		{name: "the pod is read while a look is under way, and has more time", takes: 2500 * time.Millisecond, reason: wait.Quiet, held: 27_530,
			loads: []load{clients(0, 19_690, 10)},
			turns: []turn{{30, views(func(v *wait.View) { v.PodKnown = false; v.Deleting = false })}, {19_000, views(grace(time.Minute))}}},
		{name: "timeout", policy: func(p *wait.Policy) { p.Timeout = 7 * time.Second }, turns: removed(nil), loads: flood, reason: wait.Budget, held: 7000},
		{name: "timeout beyond the grace period", policy: func(p *wait.Policy) { p.Timeout = time.Minute }, turns: removed(nil), loads: flood, reason: wait.Budget, held: 20_000,
			story: []string{"the timeout of 60s does not fit in"}},
		{name: "timeout, no cluster", policy: func(p *wait.Policy) { p.Timeout = time.Minute }, noCluster: true, loads: flood, reason: wait.Budget, held: 60_000},
		{name: "force delete", turns: []turn{{30, views(func(v *wait.View) { v.Services = nil; v.Grace = time.Second })}}, reason: wait.Budget, held: 500},
		{name: "sockets that hang", turns: removed(nil), hangs: 4000, reason: wait.Budget, stage: wait.Lull, held: 20_000},
		{name: "a control plane that never answers", turns: nil, loads: flood, reason: wait.Budget, held: 20_000},
	} {
		t.Run(tl.name, tl.run)
	}
}

func TestLosingSight(t *testing.T) {
	refused := wait.View{Err: errors.New("no permission to list endpointslices"), Refused: true, SlicesRefused: true}
	down := errors.New("connection refused")
	for _, tl := range []timeline{
		{name: "skipped", noCluster: true, reason: wait.Quiet, held: 10_000, story: []string{"going by the sockets alone, for at least 10s"}},
		{name: "skipped, with traffic", noCluster: true, loads: []load{clients(0, 7000, 10)}, reason: wait.Quiet, held: 12_000},
		{name: "no Kubernetes at all", noCluster: true, policy: func(p *wait.Policy) { p.InPod = false }, reason: wait.Quiet, held: 5000},
		{name: "no permission", turns: []turn{{0, refused}}, reason: wait.Quiet, held: 10_000, story: []string{"for at least 10s: no permission to list endpointslices"}},
		{name: "no permission, told late", turns: []turn{{2000, refused}}, reason: wait.Quiet, held: 10_000},
		{name: "no permission, traffic", turns: []turn{{0, refused}}, loads: []load{clients(0, 8000, 10)}, reason: wait.Quiet, held: 13_000},
		{name: "no permission, short window", policy: func(p *wait.Policy) { p.Quiet = time.Second }, turns: []turn{{0, refused}}, reason: wait.Quiet, held: 2000},
		{name: "pod refused, slices known a moment later", turns: []turn{{5, wait.View{Err: down, Refused: true}}, {10, views(func(v *wait.View) { v.PodKnown, v.Deleting, v.Err, v.Refused = false, false, down, true })}},
			reason: wait.Quiet, held: 5010, story: []string{"the pod can't be read", "Service web"}},
		{name: "down, and the budget is short", turns: []turn{{30, views(func(v *wait.View) { in(v); v.Grace = 18 * time.Second })}}, silence: [2]ms{2000, 60_000}, err: down,
			reason: wait.Budget, stage: wait.Removal, held: 9000, story: []string{"pod to leave rotation: connection refused"}},
		{name: "pod known, slices refused", turns: []turn{{10, wait.View{PodKnown: true, Deleting: true, Grace: 20 * time.Second, Err: down, Refused: true, SlicesRefused: true}}},
			loads: []load{clients(0, 60_000, 10)}, reason: wait.Budget, held: 10_000},
		{name: "down before the hook", silence: [2]ms{0, 60_000}, err: down, reason: wait.Quiet, held: 10_000, story: []string{"connection refused"}},
		{name: "down before the hook, short window", policy: func(p *wait.Policy) { p.Quiet = time.Second }, silence: [2]ms{0, 60_000}, err: down, reason: wait.Quiet, held: 10_000},
		{name: "down before the hook, back after 4 s", turns: removed(nil), silence: [2]ms{0, 4000}, err: down, reason: wait.Quiet, held: 9000},
		{name: "down during the removal", turns: []turn{{30, views(in)}, {3000, views(nil)}}, silence: [2]ms{2000, 60_000}, err: down, reason: wait.Quiet, held: 12_000},
		{name: "down during the removal, traffic goes on", turns: []turn{{30, views(in)}}, silence: [2]ms{2000, 60_000}, err: down,
			loads: []load{clients(0, 10_500, 10)}, reason: wait.Quiet, held: 15_500},
		{name: "down during the removal, back after 5 s", turns: []turn{{30, views(in)}, {3000, views(nil)}}, silence: [2]ms{2000, 7000}, err: down, reason: wait.Quiet, held: 12_000},
		{name: "down during the removal, back after 12 s and still in rotation", turns: []turn{{30, views(in)}, {16_000, views(nil)}}, silence: [2]ms{2000, 14_000}, err: down,
			policy: func(p *wait.Policy) { p.Quiet = 3 * time.Second }, loads: []load{clients(0, 13_000, 10)}, reason: wait.Quiet, held: 19_000,
			story: []string{"answers again"}},
		{name: "down during the handover", turns: []turn{{30, views(func(v *wait.View) { v.Services[0].Ready, v.Services[0].Coming = 0, 1 })}}, silence: [2]ms{2000, 60_000}, err: down,
			reason: wait.Quiet, held: 12_000},
		{name: "down during the lull", turns: removed(nil), silence: [2]ms{2000, 60_000}, err: down, reason: wait.Quiet, held: 5060},
		{name: "down during the lull, traffic", turns: removed(nil), silence: [2]ms{2000, 60_000}, err: down, loads: []load{clients(0, 13_000, 10)}, reason: wait.Quiet, held: 18_000},
		{name: "no sockets", turns: removed(nil), noSockets: true, reason: wait.Slept, held: 15_060, story: []string{"sleeping for 15s instead"}},
		{name: "no sockets, long window", policy: func(p *wait.Policy) { p.Quiet = 17 * time.Second }, turns: removed(nil), noSockets: true, reason: wait.Slept, held: 17_060},
		{name: "no sockets, no API", noCluster: true, noSockets: true, reason: wait.Slept, held: 15_000},
		{name: "no sockets, small budget", turns: removed(func(v *wait.View) { v.Grace = 20 * time.Second }), noSockets: true, reason: wait.Budget, held: 10_000},
		{name: "the sockets are lost on the way", turns: removed(nil), fails: 4000, reason: wait.Budget, held: 20_000, story: []string{"netlink: no buffer space"}},
		{name: "the sockets are lost on the way, in a longer grace period", turns: removed(func(v *wait.View) { v.Grace = 40 * time.Second }), fails: 4000, reason: wait.Slept, held: 20_060},
	} {
		t.Run(tl.name, tl.run)
	}
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		o := defaults().Run(ctx, nil, nil)
		if o.Reason != wait.Interrupted || o.Held != 3*time.Second {
			t.Errorf("ended with %v after %v", o.Reason, o.Held)
		}
	})
}

// TestLateStart: the sockets are watched only since Run was called, so that is
// when the window begins, however long ago the hook did.
func TestLateStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := defaults()
		policy.InPod = false
		policy.Start = time.Now().Add(-2 * time.Second)
		began := time.Now()
		o := policy.Run(t.Context(), nil, &sockets{start: began, asked: began})
		if took := time.Since(began); o.Reason != wait.Quiet || took != policy.Quiet || o.Held != took+2*time.Second {
			t.Errorf("ended with %v after %v, held %v", o.Reason, took, o.Held)
		}
	})
}

// strangers are so many clients, each with an address of its own, a connection
// each within the first 100 ms.
func strangers(n int) (arrivals []func(time.Time) wait.Arrival) {
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)})
		arrivals = append(arrivals, connFrom(addr, ms(1+i/10)))
	}
	return arrivals
}
