package wait_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"lull/wait"
)

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	podAddr  = netip.MustParseAddr("10.244.0.9")
)

// commands are readiness probes that connect from inside the pod, to any port.
func commands(periods ...time.Duration) func(*wait.View) {
	return func(v *wait.View) {
		v.PodAddrs = []netip.Addr{podAddr}
		for _, p := range periods {
			v.Probes = append(v.Probes, wait.Probe{Period: p, Local: true, Follows: true})
		}
	}
}

// TestProbesFromInside: a probe that is a command connects over loopback or the pod's own address.
// As many connections a period as there are such probes are theirs, and the next one is a client's:
// sidecars call the app over loopback, too.
func TestProbesFromInside(t *testing.T) {
	at := func(addr netip.Addr, every ms) load { return load{connFrom(addr, 0), 200, 60_000, every} }
	for _, tl := range []timeline{
		{name: "every 2 s over loopback", says: removed(commands(2 * time.Second)), loads: []load{at(loopback, 2000)}, reason: wait.Quiet, held: 5060,
			story: []string{"from 127.0.0.1, readiness probes"}},
		{name: "every 5 s over loopback", says: removed(commands(5 * time.Second)), loads: []load{at(loopback, 5000)}, reason: wait.Quiet, held: 5060},
		{name: "every second by the pod's address", says: removed(commands(time.Second)), loads: []load{at(podAddr, 1000)}, reason: wait.Quiet, held: 5060},
		{name: "two of them", says: removed(commands(2*time.Second, 2*time.Second)), loads: []load{at(loopback, 1000)}, reason: wait.Quiet, held: 5060},
		{name: "a client over loopback beside it", says: removed(commands(2 * time.Second)), loads: []load{at(loopback, 2000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(loopback, 3500)}, reason: wait.Quiet, held: 8500},
		{name: "a sidecar with a client's traffic beside it", says: removed(commands(2 * time.Second)), loads: []load{at(loopback, 2000), {connFrom(loopback, 0), 250, 60_000, 300}},
			reason: wait.Budget, held: 20_000},
		{name: "a client from elsewhere with the same period", says: removed(commands(2 * time.Second)), loads: []load{at(clientAddr, 2000)}, reason: wait.Budget, held: 20_000},
		{name: "a client from the node with the same period", says: removed(commands(2 * time.Second)), loads: []load{at(nodeAddr, 2000)}, reason: wait.Budget, held: 20_000},
		{name: "no command: loopback is a client", says: removed(nil), loads: []load{at(loopback, 2000)}, reason: wait.Budget, held: 20_000},
		{name: "of unknown peer", says: removed(commands(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{connFrom(loopback, 200), unnamed(1260), unnamed(2290), unnamed(3270)}},
		{name: "all of unknown peer", says: removed(commands(2 * time.Second)), loads: []load{{unnamed(0), 200, 60_000, 2000}}, reason: wait.Quiet, held: 5200},
		{name: "all of unknown peer, every 5 s", says: removed(commands(5 * time.Second)), loads: []load{{unnamed(0), 200, 60_000, 5000}}, reason: wait.Quiet, held: 10_200},
		{name: "a client of unknown peer beside", says: removed(commands(2 * time.Second)), loads: []load{{unnamed(0), 200, 60_000, 2000}},
			arrivals: []func(time.Time) wait.Arrival{unnamed(4900)}, reason: wait.Quiet, held: 13_200},
		{name: "a command that connects to nothing, and a client over loopback", says: removed(commands(10 * time.Second)), loads: []load{{connFrom(loopback, 0), 300, 12_000, 1300}},
			reason: wait.Quiet, held: 17_000},
		{name: "host network: the node's address and loopback are the pod's", reason: wait.Quiet, held: 5060,
			says: removed(func(v *wait.View) {
				v.HostNetwork, v.PodAddrs = true, []netip.Addr{nodeAddr}
				v.Probes = []wait.Probe{{Port: 8080, Period: time.Second}, {Port: 8080, Period: 2 * time.Second, Local: true}}
			}),
			loads: []load{at(nodeAddr, 1000), {connFrom(loopback, 0), 300, 60_000, 2000}}},
		{name: "an agent in the pod passes probes on", says: removed(func(v *wait.View) {
			v.Probes = []wait.Probe{{Port: 15020, Period: time.Second}}
		}), loads: []load{at(loopback, 1000)}, reason: wait.Quiet, held: 6200},
		{name: "and a client's requests, too", says: removed(func(v *wait.View) {
			v.Probes = []wait.Probe{{Port: 15020, Period: time.Second}}
		}), loads: []load{at(loopback, 1000)}, arrivals: []func(time.Time) wait.Arrival{connFrom(loopback, 4500)}, reason: wait.Quiet, held: 11_200},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestProbesThatAreRedirected: the kubelet follows a redirect on a connection of its own, so that
// each probe makes two. What two probes in a row have made is theirs.
func TestProbesThatAreRedirected(t *testing.T) {
	beat := func(first, every ms, offsets ...ms) (loads []load) {
		for _, o := range append([]ms{0}, offsets...) {
			loads = append(loads, load{connFrom(nodeAddr, 0), first + o, 60_000, every})
		}
		return loads
	}
	for _, tl := range []timeline{
		{name: "every second", says: removed(probing(time.Second)), loads: beat(200, 1000, 20), reason: wait.Quiet, held: 5060,
			story: []string{"not counted: 10 from 10.244.0.1, readiness probes"}},
		{name: "every 3 s", says: removed(probing(3 * time.Second)), loads: beat(200, 3000, 20), reason: wait.Quiet, held: 5060},
		{name: "every 3 s, three connections", says: removed(probing(3 * time.Second)), loads: beat(200, 3000, 20, 40), reason: wait.Quiet, held: 5060},
		{name: "every 5 s", says: removed(probing(5 * time.Second)), loads: beat(200, 5000, 20), reason: wait.Quiet, held: 5220},
		{name: "every 10 s, and not the time for two", says: removed(func(v *wait.View) { probing(10 * time.Second)(v); v.Grace = 10 * time.Second }),
			loads: beat(3000, 10_000, 20), reason: wait.Quiet, held: 6000, story: []string{"quiet but for what followed a probe (a redirect?), as it may again"}},
		{name: "every 10 s, and not the time for two, and a client", says: removed(func(v *wait.View) { probing(10 * time.Second)(v); v.Grace = 10 * time.Second }),
			loads: beat(3000, 10_000, 20), arrivals: []func(time.Time) wait.Arrival{conn(1500)}, reason: wait.Budget, held: 6000},
		{name: "a client that comes after some of them, and not the time for a window", says: removed(func(v *wait.View) { probing(time.Second)(v); v.Grace = 10 * time.Second }),
			loads: []load{probes(1000)}, reason: wait.Budget, held: 6000,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 1220), connFrom(nodeAddr, 3220), connFrom(nodeAddr, 3240)}},
		{name: "every 10 s: one is not enough to tell", says: removed(probing(10 * time.Second)), loads: beat(4000, 10_000, 20), reason: wait.Quiet, held: 9020},
		{name: "a client beside it", says: removed(probing(time.Second)), loads: beat(200, 1000, 20),
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 3240)}, reason: wait.Quiet, held: 8240},
		{name: "a client between", says: removed(probing(time.Second)), loads: beat(200, 1000, 20),
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 3700)}, reason: wait.Quiet, held: 8700},
		{name: "a client that comes once after a probe is none of it", says: removed(probing(time.Second)), loads: []load{probes(1000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 2220), connFrom(nodeAddr, 4220)}, reason: wait.Quiet, held: 9220},
		{name: "clients that come in ever other numbers", says: removed(probing(time.Second)), loads: []load{probes(1000)}, reason: wait.Quiet, held: 9240,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 2220), connFrom(nodeAddr, 3220), connFrom(nodeAddr, 4220), connFrom(nodeAddr, 4240)}},
		{name: "one of them is late, and what follows it, too", says: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 200), connFrom(nodeAddr, 220), connFrom(nodeAddr, 1200), connFrom(nodeAddr, 1220),
				connFrom(nodeAddr, 2280), connFrom(nodeAddr, 2300), connFrom(nodeAddr, 3200), connFrom(nodeAddr, 3220), connFrom(nodeAddr, 4200), connFrom(nodeAddr, 4220)}},
		{name: "the node is busy, and the app answers now sooner, now later", says: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 200), connFrom(nodeAddr, 220), connFrom(nodeAddr, 2205), connFrom(nodeAddr, 2275), connFrom(nodeAddr, 4203), connFrom(nodeAddr, 4240)}},
		{name: "every 3 s on such a node: it takes three", says: removed(probing(3 * time.Second)), reason: wait.Quiet, held: 6700,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 200), connFrom(nodeAddr, 220), connFrom(nodeAddr, 3205), connFrom(nodeAddr, 3275), connFrom(nodeAddr, 6203), connFrom(nodeAddr, 6240)}},
		{name: "a redirect that ends", says: removed(probing(time.Second)), loads: []load{probes(1000), {connFrom(nodeAddr, 0), 220, 2220, 1000}},
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 4220)}, reason: wait.Quiet, held: 9220},
		{name: "a probe that cannot be, and a client that always follows", says: removed(func(v *wait.View) { v.Probes = []wait.Probe{{Port: 8080, Period: time.Second}} }),
			loads: []load{probes(1000), {connFrom(nodeAddr, 0), 220, 7220, 1000}}, reason: wait.Quiet, held: 12_220},
		{name: "a client that follows, 30 ms later each time", says: removed(probing(time.Second)), loads: []load{probes(1000), {connFrom(nodeAddr, 0), 220, 7430, 1030}},
			reason: wait.Quiet, held: 12_430},
		{name: "a client that follows, 10 ms later each time, is believed no longer once that comes out", says: removed(probing(time.Second)),
			loads: []load{probes(1000), {connFrom(nodeAddr, 0), 220, 7290, 1010}}, reason: wait.Quiet, held: 12_290},
		{name: "commands, two connections each", says: removed(commands(2 * time.Second)), reason: wait.Quiet, held: 5060,
			loads: []load{{connFrom(loopback, 0), 10, 60_000, 2000}, {connFrom(loopback, 0), 15, 60_000, 2000}}},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestStuckQueue: at a port where the app accepts nothing nobody is served by waiting.
func TestStuckQueue(t *testing.T) {
	full := load{other(wait.Arrival{Kind: wait.Dropped, Port: 8080}), 0, 60_000, 500}
	for _, tl := range []timeline{
		{name: "nothing accepted since before the hook", says: removed(nil), queue: [2]ms{1, 60_000}, stuck: 1, reason: wait.Quiet, held: 5060,
			story: []string{"the app has accepted nothing on :8080 for 5.1s, and 1 wait in the accept queue: not waiting for them"}},
		{name: "nothing accepted since a while after", says: removed(nil), queue: [2]ms{1, 60_000}, stuck: 2000, reason: wait.Quiet, held: 7000},
		{name: "and full: what it drops counts until it proves stuck", says: removed(nil), queue: [2]ms{1, 60_000}, stuck: 1, loads: []load{full}, reason: wait.Quiet, held: 7000},
		{name: "and full, beside a port that is full but drains", reason: wait.Budget, held: 20_000, queue: [2]ms{1, 60_000}, stuck: 1,
			says:  removed(func(v *wait.View) { v.Ports = append(v.Ports, wait.Port{Number: 9090}) }),
			loads: []load{full, {other(wait.Arrival{Kind: wait.Dropped, Port: 9090}), 0, 60_000, 500}}},
		{name: "full, but it drains", says: removed(nil), loads: []load{full}, reason: wait.Budget, held: 20_000},
		{name: "clients that come into it", says: removed(nil), queue: [2]ms{1, 60_000}, stuck: 1, loads: []load{clients(500, 60_000, 1000)}, reason: wait.Quiet, held: 6500},
		{name: "a client of another port", says: removed(func(v *wait.View) { v.Ports = append(v.Ports, wait.Port{Number: 9090}) }), queue: [2]ms{1, 60_000}, stuck: 1,
			loads: []load{{other(wait.Arrival{Kind: wait.Connection, Port: 9090}), 3000, 3000, 1}}, reason: wait.Quiet, held: 8000},
		{name: "a request on an open connection", says: removed(nil), queue: [2]ms{1, 60_000}, stuck: 1,
			arrivals: []func(time.Time) wait.Arrival{request(3000, 0)}, reason: wait.Quiet, held: 8000},
		{name: "and full, of a port that the source does not know", says: removed(nil), queue: [2]ms{1, 60_000}, stuck: 1,
			loads: []load{{other(wait.Arrival{Kind: wait.Dropped}), 0, 60_000, 500}}, reason: wait.Quiet, held: 7000},
		{name: "not being deleted: the cure is not delayed", reason: wait.Quiet, held: 5030, queue: [2]ms{1, 60_000}, stuck: 1, loads: []load{probes(1000)},
			says: []says{{at: 30, view: views(func(v *wait.View) { probing(time.Second)(v); v.Deleting, v.Services[0].Serving = false, false })}}},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestClientsBesideProbes: clients that come from where the probes come from, by a NAT of the
// node's or over loopback, some so often that one always follows a probe, some with nearly the
// probe's period. Wherever their phase is, the window begins no sooner than with the last of them.
// By the node's address that is the last but one: probes may come late there, so that a client who
// comes once in their period and leaves can pass for one.
func TestClientsBesideProbes(t *testing.T) {
	const last ms = 12_007
	for name, tt := range map[string]struct {
		from   netip.Addr
		probes func(*wait.View)
		period ms
	}{
		"by the node":            {nodeAddr, probing(time.Second), 1000},
		"by the node, every 2 s": {nodeAddr, probing(2 * time.Second), 2000},
		"over loopback":          {loopback, commands(2 * time.Second), 2000},
	} {
		for _, every := range []ms{50, 70, 110, 240, 500, 1430, 1700, tt.period * 9 / 10, tt.period * 19 / 20, tt.period * 49 / 50, tt.period * 51 / 50, tt.period * 21 / 20} {
			for phase := ms(0); phase < tt.period; phase += 70 {
				t.Run(fmt.Sprintf("%s, every %d ms, %d ms", name, every, phase), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						start := time.Now()
						kernel := &sockets{start: start, asked: start, loads: []load{
							{connFrom(tt.from, 0), 200 + phase, 60_000, tt.period},
							{connFrom(tt.from, 0), last % every, last, every},
						}}
						policy := defaults()
						o := policy.Run(t.Context(), &cluster{start: start, says: removed(func(v *wait.View) { tt.probes(v); v.Grace = time.Minute })}, kernel)
						least := time.Duration(last)*time.Millisecond + policy.Quiet
						if tt.from == nodeAddr {
							least -= time.Duration(every) * time.Millisecond
						}
						if o.Reason != wait.Quiet || o.Held < least || o.Held > least+3*time.Duration(tt.period)*time.Millisecond {
							t.Errorf("ended with %v after %v, want %v", o.Reason, o.Held, least)
						}
					})
				})
			}
		}
	}
}
