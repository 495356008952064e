package wait_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lull/wait"
)

// TestWhoHeldIt: where a hook runs into its budget, its last line says who held it and what to do
// about it.
func TestWhoHeldIt(t *testing.T) {
	checker := netip.MustParseAddr("10.0.5.5")
	every := func(addr netip.Addr, d ms) load { return load{connFrom(addr, 0), 100, 60_000, d} }
	for _, tl := range []timeline{
		{name: "a health checker", says: removed(nil), loads: []load{every(checker, 2000)}, reason: wait.Budget, held: 20_000,
			story: []string{"in the last 10s 5 new connections from 10.0.5.5, one every 2s",
				"if that is a health checker and no client, --ignore=10.0.5.5 (which ignores its requests, too), else raise terminationGracePeriodSeconds"}},
		{name: "a probe that the app redirects, slowly", says: removed(probing(2 * time.Second)), loads: []load{probes(2000), {connFrom(nodeAddr, 0), 600, 60_000, 2000}}, reason: wait.Budget, held: 20_000,
			story: []string{"from 10.244.0.1, one every 2s", "if that is a probe that the app redirects, have it ask for the path that answers, else raise terminationGracePeriodSeconds"}, silent: []string{"--ignore"}},
		{name: "two of them", says: removed(nil), loads: []load{every(checker, 2000), every(clientAddr, 1000)}, reason: wait.Budget, held: 20_000,
			story: []string{"in the last 10s 10 new connections from 10.0.3.7, one every 1s; 5 new connections from 10.0.5.5, one every 2s",
				"raise terminationGracePeriodSeconds, or --ignore who is no client"}},
		{name: "a budget of the user's", policy: func(p *wait.Policy) { p.Timeout = 8 * time.Second }, says: removed(nil), loads: []load{every(clientAddr, 10)}, reason: wait.Budget, held: 8000,
			story: []string{"raise --timeout, or --ignore"}},
		{name: "a policy that could not be asked", reason: wait.Budget, held: 20_000, loads: []load{every(clientAddr, 10)},
			says:  removed(func(v *wait.View) { v.Services[0].LocalUnknown = true }),
			story: []string{"if traffic of Service web must stay on this node, nobody here can take it over: grant get on services"}},
		{name: "probes are not among them", says: removed(probing(time.Second)), loads: []load{probes(1000), every(clientAddr, 3000)}, reason: wait.Budget, held: 20_000,
			silent: []string{"connections from 10.244.0.1"}},
		{name: "nobody, but the pod left late", says: []says{{at: 30, view: views(in)}, {at: 17_000, view: views(nil)}}, reason: wait.Budget, held: 20_000,
			story: []string{"ran out while waiting for the lull: nothing has arrived, but after 17s the time that was left did not suffice (22s at the soonest): raise terminationGracePeriodSeconds; letting"}},
		{name: "somebody, a while ago", policy: func(p *wait.Policy) { p.Quiet = 15 * time.Second }, says: removed(nil), arrivals: []func(time.Time) wait.Arrival{conn(6500)}, reason: wait.Budget, held: 20_000,
			story: []string{"ran out while waiting for the lull: last seen 13.5s ago, new connection from 10.0.3.7 to :8080; raise terminationGracePeriodSeconds"}},
		{name: "nobody can be seen", says: removed(func(v *wait.View) { v.Grace = 10 * time.Second }), noSockets: true, reason: wait.Budget, held: 8000,
			story: []string{"ran out while waiting for the lull: sleeping for 15s, since the sockets cannot be seen, did not fit in: raise terminationGracePeriodSeconds"}},
		{name: "the API server", policy: func(p *wait.Policy) { p.Timeout = 4 * time.Second }, says: nil, reason: wait.Budget, stage: wait.Removal, held: 4000,
			story: []string{"ran out while waiting for the API server to tell of the pod's EndpointSlices: raise --timeout; letting"}},
		{name: "the removal", says: []says{{at: 30, view: views(func(v *wait.View) {
			v.Services = []wait.Service{{Name: "slow", InRotation: true}, {Name: "web"}}
		})}}, reason: wait.Budget, stage: wait.Removal, held: 20_000,
			story: []string{"still in rotation (Service slow)", "ran out while waiting for the pod to leave rotation (Service slow): raise terminationGracePeriodSeconds if that takes so long here; letting", "services=[slow]"}},
		{name: "a removal of less than a second is not worth a line", says: []says{{at: 30, view: views(in)}, {at: 1000, view: views(nil)}}, reason: wait.Quiet, held: 6000,
			silent: []string{"still in rotation"}},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestPinnedAreTold: who still uses old connections meets the SIGTERM, and is told.
func TestPinnedAreTold(t *testing.T) {
	on := func(conn uint64, addr netip.Addr, from, to, every ms) load {
		return load{func(start time.Time) wait.Arrival {
			a := request(0, 0)(start)
			a.Conn, a.Peer = conn, netip.AddrPortFrom(addr, 1)
			return a
		}, from, to, every}
	}
	other := netip.MustParseAddr("10.0.3.8")
	for _, tl := range []timeline{
		{name: "five connections of two clients", says: removed(nil), reason: wait.Quiet, held: 15_060,
			loads: []load{
				on(1, clientAddr, 100, 60_000, 4000), on(2, clientAddr, 300, 60_000, 4000), on(3, clientAddr, 500, 60_000, 300),
				on(4, other, 700, 60_000, 1000), on(5, other, 900, 60_000, 4500),
			},
			story: []string{"level=WARN msg=\"no new connection for 15s, but 5 open connections are used by 10.0.3.7 (3), 10.0.3.8 (2), longer than --keepalive-wait=15s waits: SIGTERM meets them"}},
		{name: "one that has let go", says: removed(nil), reason: wait.Quiet, held: 15_060,
			loads: []load{on(1, clientAddr, 100, 60_000, 1000), on(2, other, 100, 9000, 1000)},
			story: []string{"but 1 open connection is used by 10.0.3.7, longer"}},
		{name: "all have let go", says: removed(nil), reason: wait.Quiet, held: 14_000,
			loads: []load{on(1, clientAddr, 100, 9000, 100)},
			story: []string{"level=INFO msg=\"quiet for 5s"}},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestUnwatchedIsTold: what no TCP socket shows is named, with what to set for it.
func TestUnwatchedIsTold(t *testing.T) {
	headless := func(v *wait.View) { v.Services[0].Headless = true }
	udp := func(v *wait.View) { v.Services[0].Unwatched = []string{"443/UDP (http3)"} }
	for _, tl := range []timeline{
		{name: "UDP", says: removed(udp), reason: wait.Quiet, held: 5060, story: []string{"Service web: 443/UDP (http3) cannot be watched: use --min"}},
		{name: "headless", says: removed(headless), reason: wait.Quiet, held: 5060, story: []string{"Service web is headless: its clients may hold the pod's address for 30s"}},
		{name: "headless, and time for it", policy: func(p *wait.Policy) { p.Min = 30 * time.Second },
			says:   removed(func(v *wait.View) { headless(v); v.Grace = time.Minute }),
			reason: wait.Quiet, held: 30_060, silent: []string{"headless"}},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestServicesAreAList: where no slice is known yet there are none to wait for, which a program that
// reads the story must not have to know.
func TestServicesAreAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var story bytes.Buffer
		policy := defaults()
		policy.Timeout, policy.Log = time.Second, slog.New(slog.NewJSONHandler(&story, nil))
		policy.Run(t.Context(), &cluster{start: time.Now()}, &sockets{start: time.Now()})
		if !strings.Contains(story.String(), `"services":[]`) {
			t.Errorf("the story says %s", story.String())
		}
	})
}
