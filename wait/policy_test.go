package wait_test

import (
	"bytes"
	"context"
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
	says      []says
	silence   [2]ms
	err       error

	noSockets bool
	arrivals  []func(time.Time) wait.Arrival
	loads     []load
	open      []open
	queue     [2]ms
	stuck     ms
	takes     time.Duration
	hangs     ms
	fails     ms

	reason wait.Reason
	stage  wait.Stage
	held   ms
	story  []string // lines that must be in it
	silent []string // lines that must not
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
			c = &cluster{start: start, says: tl.says, silence: tl.silence, err: tl.err}
		}
		var s wait.Sockets
		if !tl.noSockets {
			fake := &sockets{start: start, asked: start, loads: tl.loads, open: tl.open, queue: tl.queue, stuck: tl.stuck, takes: tl.takes, hangs: tl.hangs, fails: tl.fails, released: make(chan struct{})}
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
		for _, no := range tl.silent {
			if strings.Contains(log.String(), no) {
				t.Errorf("the story has %q:\n%s", no, log.String())
			}
		}
	})
}

func TestRemoval(t *testing.T) {
	for _, tl := range []timeline{
		{
			name: "out at once, no traffic", says: removed(nil),
			reason: wait.Quiet, stage: wait.Lull, held: 5060,
			story: []string{"out of rotation after 0.1s (Service web)", "letting SIGTERM through after 5.1s of 20s", "grace period 30s less 10s"},
		},
		{
			name: "a slow control plane", says: []says{{at: 30, view: views(in)}, {at: 4000, view: views(nil)}},
			reason: wait.Quiet, held: 9000,
		},
		{
			name: "never out", says: []says{{at: 30, view: views(in)}},
			reason: wait.Budget, stage: wait.Removal, held: 20_000,
			story: []string{"ran out while waiting for the pod to leave rotation"},
		},
		{
			name: "two Services, one late",
			says: []says{
				{at: 30, view: views(func(v *wait.View) {
					v.Services = []wait.Service{{Name: "api", InRotation: true, Ready: 1}, {Name: "web", InRotation: true, Ready: 1}}
				})},
				{at: 60, view: views(func(v *wait.View) {
					v.Services = []wait.Service{{Name: "api", Ready: 1}, {Name: "web", InRotation: true, Ready: 1}}
				})},
				{at: 3000, view: views(func(v *wait.View) {
					v.Services = []wait.Service{{Name: "api", Ready: 1}, {Name: "web", Ready: 1}}
				})},
			},
			reason: wait.Quiet, held: 8000, story: []string{"Services api, web"},
		},
		{
			name: "back in rotation and out again",
			says: []says{
				{at: 30, view: views(nil)}, {at: 2000, view: views(in)}, {at: 3000, view: views(nil)},
			},
			reason: wait.Quiet, held: 8000, story: []string{"back in rotation (Service web)"},
		},
		{
			name:   "publishNotReadyAddresses",
			says:   []says{{at: 30, view: views(func(v *wait.View) { v.Services[0].AlwaysReady = true })}},
			reason: wait.Quiet, held: 5030, story: []string{"published ready or not"},
		},
		{
			name:   "in no Service",
			says:   []says{{at: 30, view: views(func(v *wait.View) { v.Services = nil })}},
			reason: wait.Quiet, held: 5030, story: []string{"in no Service's EndpointSlices"},
		},
		{
			name: "with the node's network, in no Service, and no port declared", loads: []load{{other(wait.Arrival{Kind: wait.Connection, Port: 10250}), 0, 60_000, 1700}},
			says:   []says{{at: 30, view: views(func(v *wait.View) { v.Services, v.Ports, v.HostNetwork = nil, nil, true })}},
			reason: wait.Slept, held: 15_030, story: []string{"sleeping for 15s instead of watching the node's: set --port"},
		},
		{
			name: "with the node's network, in no Service, and a port asked for", policy: func(p *wait.Policy) { p.Ports = []wait.Port{{Number: 8080}} },
			loads:  []load{clients(0, 2000, 100)},
			says:   []says{{at: 30, view: views(func(v *wait.View) { v.Services, v.Ports, v.HostNetwork = nil, nil, true })}},
			reason: wait.Quiet, held: 7000,
		},
		{
			name:   "not deleted and in rotation",
			says:   []says{{at: 30, view: views(func(v *wait.View) { in(v); v.Deleting = false })}},
			loads:  []load{clients(0, 60_000, 100)},
			reason: wait.Restart, held: 530, story: []string{"the kubelet ends it by itself (eviction, node shutdown), since it has no liveness or startup probe"},
		},
		{
			name:   "not deleted and in rotation, with a liveness probe",
			says:   []says{{at: 30, view: views(func(v *wait.View) { in(v); v.Deleting = false; v.Restartable = true })}},
			reason: wait.Restart, held: 530, story: []string{"the kubelet restarts its container, or ends the pod by itself (eviction, node shutdown): nothing to wait for"},
		},
		{
			name: "its time is up, and the slices tell a moment later",
			says: []says{
				{at: 30, view: views(func(v *wait.View) { in(v); v.Deleting = false })},
				{at: 500, view: views(func(v *wait.View) { v.Deleting = false })},
			},
			reason: wait.Quiet, held: 5500, story: []string{"though not being deleted"},
		},
		{
			name: "deleted a moment after its container failed",
			says: []says{
				{at: 30, view: views(func(v *wait.View) { in(v); v.Deleting = false })},
				{at: 300, view: views(in)}, {at: 700, view: views(nil)},
			},
			reason: wait.Quiet, held: 5700,
		},
		{
			name:   "not deleted and out of rotation",
			says:   []says{{at: 30, view: views(func(v *wait.View) { v.Deleting = false; v.Ended = "Failed: DeadlineExceeded" })}},
			reason: wait.Quiet, held: 5030, story: []string{"though not being deleted (Failed: DeadlineExceeded)"},
		},
		{
			name: "ended, its addresses always published",
			says: []says{
				{at: 30, view: views(func(v *wait.View) { in(v); v.Deleting = false; v.Ended = "Failed: DeadlineExceeded" })},
			},
			reason: wait.Quiet, held: 5530, story: []string{"published ready or not", "though not being deleted"},
		},
		{
			name: "its time is up, and another Service publishes it ready or not",
			says: []says{
				{at: 30, view: views(func(v *wait.View) {
					v.Deleting = false
					v.Services = []wait.Service{{Name: "all", InRotation: true}, {Name: "web", InRotation: true}}
				})},
				{at: 100, view: views(func(v *wait.View) {
					v.Deleting = false
					v.Services = []wait.Service{{Name: "all", InRotation: true}, {Name: "web"}}
				})},
			},
			loads:  []load{clients(0, 3000, 10)},
			reason: wait.Quiet, held: 8000, story: []string{"Service all: addresses are published ready or not", "though not being deleted"},
		},
		{
			name:    "in rotation, and then the API server is silent",
			says:    []says{{at: 30, view: views(func(v *wait.View) { in(v); v.Deleting = false })}},
			silence: [2]ms{100, 60_000},
			loads:   []load{clients(0, 12_000, 10)},
			reason:  wait.Quiet, held: 17_000, story: []string{"cannot be seen"},
		},
		{
			name:   "slices known, pod not",
			says:   []says{{at: 30, view: views(func(v *wait.View) { in(v); v.PodKnown = false; v.Deleting = false })}, {at: 60, view: views(func(v *wait.View) { v.PodKnown = false; v.Deleting = false })}},
			reason: wait.Quiet, held: 5060,
		},
		{
			name: "slices known before the pod, which is not being deleted",
			says: []says{
				{at: 30, view: views(func(v *wait.View) { in(v); v.PodKnown = false; v.Deleting = false })},
				{at: 40, view: views(func(v *wait.View) { in(v); v.Deleting = false })},
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
			name: "traffic until 3 s", says: removed(nil), loads: []load{clients(0, 3000, 10)},
			reason: wait.Quiet, held: 8000, story: []string{"last arrival 4.1s ago: new connection from 10.0.3.7 to :8080"},
		},
		{
			name: "arrival in the last millisecond of the window", says: removed(nil),
			arrivals: []func(time.Time) wait.Arrival{conn(5059)},
			reason:   wait.Quiet, held: 10_059,
		},
		{
			name: "arrival as the window ends", says: removed(nil),
			arrivals: []func(time.Time) wait.Arrival{conn(5060)},
			reason:   wait.Quiet, held: 10_060,
		},
		{
			name: "arrival while the last look is under way", says: removed(nil), takes: 100 * time.Millisecond,
			arrivals: []func(time.Time) wait.Arrival{conn(5000)},
			reason:   wait.Quiet, held: 10_100,
		},
		{
			name: "other ports' traffic", says: removed(nil),
			loads:  []load{{other(wait.Arrival{Kind: wait.Connection, Port: 9090}), 0, 60_000, 100}},
			reason: wait.Quiet, held: 5060,
		},
		{
			name: "min", policy: func(p *wait.Policy) { p.Min = 12 * time.Second }, says: removed(nil),
			reason: wait.Quiet, held: 12_060,
		},
		{
			name: "min of a pod that leaves late", policy: func(p *wait.Policy) { p.Min = 12 * time.Second },
			says:   []says{{at: 30, view: views(in)}, {at: 3000, view: views(nil)}},
			reason: wait.Quiet, held: 15_000,
		},
		{
			name: "min shorter than the window", policy: func(p *wait.Policy) { p.Min = time.Second }, says: removed(nil),
			reason: wait.Quiet, held: 5060,
		},
		{
			name: "a connection waits in the accept queue", says: removed(nil), queue: [2]ms{4000, 5100},
			reason: wait.Quiet, held: 10_060, story: []string{"connection waiting in the accept queue to :8080"},
		},
		{
			name: "an app that accepts no more", says: removed(nil), queue: [2]ms{100, 60_000},
			reason: wait.Budget, stage: wait.Lull, held: 20_000,
		},
		{
			name: "connections dropped", says: removed(nil),
			loads:  []load{{other(wait.Arrival{Kind: wait.Dropped, Port: 8080}), 3000, 3000, 1}},
			reason: wait.Quiet, held: 8000, story: []string{"dropped by a full accept queue"},
		},
		{
			name: "lost events", says: removed(nil),
			loads:  []load{{other(wait.Arrival{Kind: wait.Lost}), 3000, 3000, 1}},
			reason: wait.Quiet, held: 8000,
		},
		{
			name: "ignored clients", says: removed(nil),
			policy: func(p *wait.Policy) { p.Ignore = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
			loads:  []load{clients(0, 60_000, 50)},
			reason: wait.Quiet, held: 5060, story: []string{"10.0.3.7, named by --ignore"},
		},
		{
			name: "a flood", says: removed(nil), loads: []load{clients(0, 60_000, 1)},
			reason: wait.Budget, stage: wait.Lull, held: 20_000, story: []string{"last seen 0.3s ago, new connection from 10.0.3.7 to :8080"},
		},
		{
			name: "interleaved flood beyond what is told apart", says: removed(nil),
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
			name: "requests end", says: removed(nil), loads: []load{old(0, 4000, 100)},
			reason: wait.Quiet, held: 9000, story: []string{"request on an open connection from 10.0.3.7 to :8080"},
		},
		{
			name: "pinned", says: removed(nil), loads: []load{old(0, 60_000, 100)},
			reason: wait.Quiet, held: 15_060, story: []string{"but 1 open connection is used by 10.0.3.7, longer than --keepalive-wait=15s waits"},
		},
		{
			name: "pinned, with nothing since the look before", says: removed(nil),
			arrivals: []func(time.Time) wait.Arrival{request(2000, 0), request(6000, 0), request(10_000, 0), request(12_000, 0)},
			reason:   wait.Quiet, held: 15_060, story: []string{"no new connection for 15s, but 1 open connection is used by 10.0.3.7"},
		},
		{
			name: "pinned, with a new connection at 14 s", says: removed(nil),
			loads: []load{old(0, 60_000, 100)}, arrivals: []func(time.Time) wait.Arrival{conn(14_000)},
			reason: wait.Quiet, held: 19_000,
		},
		{
			name:     "a connection opened after the removal counts from then",
			says:     removed(nil),
			arrivals: []func(time.Time) wait.Arrival{conn(3000)},
			loads:    []load{{request(0, 3000), 3100, 60_000, 100}},
			reason:   wait.Quiet, held: 18_000,
		},
		{
			name: "connections only", says: removed(nil), policy: func(p *wait.Policy) { p.KeepaliveWait = 0 },
			loads:  []load{old(0, 60_000, 100)},
			reason: wait.Quiet, held: 5060,
		},
		{
			name: "left late: counted from then", says: []says{{at: 30, view: views(in)}, {at: 4000, view: views(nil)}},
			policy: func(p *wait.Policy) { p.KeepaliveWait = 10 * time.Second },
			loads:  []load{old(0, 60_000, 100)},
			reason: wait.Quiet, held: 14_000,
		},
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
