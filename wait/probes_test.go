package wait_test

import (
	"lull/wait"
	"net/netip"
	"testing"
	"time"
)

func TestProbes(t *testing.T) {
	at := func(addr netip.Addr, every ms) load {
		return load{connFrom(addr, 0), 200, 60_000, every}
	}
	stranger := netip.MustParseAddr("169.254.20.10")
	for _, tl := range []timeline{
		{name: "every second", says: removed(probing(time.Second)), loads: []load{probes(1000)}, reason: wait.Quiet, held: 5060,
			story: []string{"from 10.244.0.1, readiness probes"}},
		{name: "every 2 s", says: removed(probing(2 * time.Second)), loads: []load{probes(2000)}, reason: wait.Quiet, held: 5060},
		{name: "every 10 s", says: removed(probing(10 * time.Second)), loads: []load{probes(10_000)}, reason: wait.Quiet, held: 5060},
		{name: "two probes on the port", says: removed(probing(time.Second, time.Second)), loads: []load{probes(500)}, reason: wait.Quiet, held: 5060},
		{name: "jitter", says: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), connFrom(nodeAddr, 1290), connFrom(nodeAddr, 2201), connFrom(nodeAddr, 3250), connFrom(nodeAddr, 4195),
			}},
		{name: "a probe caught in the middle by a look", says: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 5030), requestOn(nodeAddr, 5030, 5045)}},
		{name: "a client from the node's address caught in the middle by a look", says: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 10_050,
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 1100), requestOn(nodeAddr, 1100, 5050)}},
		{name: "a client caught in the middle by a look", says: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 10_045,
			arrivals: []func(time.Time) wait.Arrival{conn(5030), requestOn(clientAddr, 5030, 5045)}},
		{name: "the first seen was late", says: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 400), connFrom(nodeAddr, 1180), connFrom(nodeAddr, 2180), connFrom(nodeAddr, 3180), connFrom(nodeAddr, 4180),
			}},
		{name: "one so late that the next follows at once", says: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), connFrom(nodeAddr, 1200), connFrom(nodeAddr, 3300), connFrom(nodeAddr, 3310), connFrom(nodeAddr, 4200),
			}},
		{name: "two clients after a missed probe", says: removed(probing(time.Second)), reason: wait.Quiet, held: 8320,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), connFrom(nodeAddr, 1200), connFrom(nodeAddr, 3300), connFrom(nodeAddr, 3310), connFrom(nodeAddr, 3320),
			}},
		{name: "a probe's request", says: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 1055), requestOn(nodeAddr, 1055, 1062), // a look at 1060 comes between them
			}},
		{name: "a client from the node's address on top", says: removed(probing(time.Second)), loads: []load{probes(1000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 3500)}, reason: wait.Quiet, held: 8500},
		{name: "a client from the node's address on top of slow probes", says: removed(probing(10 * time.Second)), loads: []load{probes(10_000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 4900)}, reason: wait.Quiet, held: 9900},
		{name: "a client with twice the probes' rhythm", says: removed(probing(time.Second)), loads: []load{probes(500)}, reason: wait.Budget, held: 20_000},
		{name: "no probe known", says: removed(nil), loads: []load{probes(1000)}, reason: wait.Budget, held: 20_000},
		{name: "a probe of another port", says: removed(func(v *wait.View) { v.Probes = []wait.Probe{{Port: 9090, Period: time.Second}} }),
			loads: []load{probes(1000)}, reason: wait.Budget, held: 20_000},
		{name: "a strange address with the probes' rhythm", says: removed(probing(time.Second)), loads: []load{at(stranger, 1000)}, reason: wait.Quiet, held: 6200,
			story: []string{"from 169.254.20.10, readiness probes"}},
		{name: "a strange address with the probes' rhythm, after a crowd of strangers", says: removed(probing(time.Second)),
			loads: []load{at(stranger, 1000)}, arrivals: strangers(1000), reason: wait.Quiet, held: 6200},
		{name: "two of a rhythm are not enough", says: removed(probing(2 * time.Second)), reason: wait.Quiet, held: 7200,
			arrivals: []func(time.Time) wait.Arrival{connFrom(stranger, 200), connFrom(stranger, 2200)}},
		{name: "a strange address with a rhythm and something else", says: removed(probing(time.Second)), loads: []load{at(stranger, 1000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(stranger, 3500)}, reason: wait.Quiet, held: 8500},
		{name: "a strange address with another rhythm", says: removed(probing(2 * time.Second)), loads: []load{at(stranger, 1000)}, reason: wait.Budget, held: 20_000},
		{name: "a strange address with the probes' rhythm, and a client by the node's address", says: removed(probing(time.Second)), loads: []load{at(stranger, 1000)},
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 100)}, reason: wait.Quiet, held: 7200},
		{name: "a client with the rhythm of probes that come from the node", says: removed(probing(time.Second)), loads: []load{probes(1000), {connFrom(clientAddr, 0), 500, 60_000, 1000}},
			reason: wait.Budget, held: 20_000},
		{name: "another container's liveness probe, of a pod that is not being deleted", reason: wait.Quiet, held: 5030,
			says: []says{{at: 30, view: views(func(v *wait.View) {
				probing(10 * time.Second)(v)
				v.Live = []wait.Probe{{Port: 8080, Period: 2 * time.Second}}
				v.Deleting, v.Services[0].Serving = false, false
			})}},
			loads: []load{probes(10_000), {connFrom(nodeAddr, 0), 700, 60_000, 2000}}},
		{name: "a liveness probe of a pod that is being deleted is none", says: removed(func(v *wait.View) { v.Live = []wait.Probe{{Port: 8080, Period: 2 * time.Second}} }),
			loads: []load{probes(2000)}, reason: wait.Budget, held: 20_000},
		{name: "some of unknown peer", says: removed(probing(time.Second)), reason: wait.Quiet, held: 5060,
			arrivals: []func(time.Time) wait.Arrival{
				connFrom(nodeAddr, 200), unnamed(1260), unnamed(2290), connFrom(nodeAddr, 3210), unnamed(4270),
			}},
		{name: "a client of unknown peer off the beat", says: removed(probing(time.Second)), reason: wait.Quiet, held: 8600,
			loads: []load{probes(1000)}, arrivals: []func(time.Time) wait.Arrival{unnamed(3600)}},
		{name: "a client of unknown peer on the beat, on top of the probe", says: removed(probing(time.Second)), reason: wait.Quiet, held: 8270,
			loads: []load{probes(1000)}, arrivals: []func(time.Time) wait.Arrival{unnamed(3270)}},
		{name: "a client of unknown peer, no probe seen yet", says: removed(probing(10 * time.Second)), reason: wait.Quiet, held: 6000,
			arrivals: []func(time.Time) wait.Arrival{unnamed(1000)}},
		{name: "a client of unknown peer with the probes' period", says: removed(probing(time.Second)), loads: []load{probes(1000), {unnamed(0), 700, 60_000, 1000}},
			reason: wait.Budget, held: 20_000},
		{name: "two probes, all of unknown peer: nothing tells them from clients", says: removed(probing(2*time.Second, 2*time.Second)),
			loads: []load{{unnamed(0), 200, 60_000, 2000}, {unnamed(0), 900, 60_000, 2000}}, reason: wait.Budget, held: 20_000},
		{name: "all of unknown peer", says: removed(probing(time.Second)), reason: wait.Quiet, held: 6230,
			arrivals: []func(time.Time) wait.Arrival{unnamed(250), unnamed(1230), unnamed(2260), unnamed(3270), unnamed(4280)}},
		{name: "of unknown peer, their data perhaps newer", says: removed(probing(time.Second)), reason: wait.Quiet, held: 6060,
			policy:   func(p *wait.Policy) { p.Quiet = 6 * time.Second },
			arrivals: []func(time.Time) wait.Arrival{connFrom(nodeAddr, 200), unnamedBy(5000, 1260), unnamedBy(5000, 2290), unnamedBy(5000, 3270), connFrom(nodeAddr, 4210)}},
		{name: "a client of unknown peer, its data perhaps newer", says: removed(probing(time.Second)), reason: wait.Quiet, held: 10_000,
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

// strangers are so many clients, each with an address of its own, a connection each within the
// first 100 ms.
func strangers(n int) (arrivals []func(time.Time) wait.Arrival) {
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)})
		arrivals = append(arrivals, connFrom(addr, ms(1+i/10)))
	}
	return arrivals
}
