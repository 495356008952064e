package wait

import (
	"net/netip"
	"testing"
	"time"
)

func TestProbeRules(t *testing.T) {
	t.Parallel()
	node, pod, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.3.9")
	type call struct {
		after time.Duration
		from  netip.Addr
		kind  Kind
		conn  uint64
		whose Whose
		why   string
	}
	known := View{PodKnown: true, Probes: []Probe{{Port: 80, Period: 5 * time.Second}}, PodAddrs: []netip.Addr{pod}}
	const due, top, maybe = "one of the pod's was due, and it comes from the node", "it comes from the node, on top of the pod's probes",
		"it may be a probe that has not shown its period yet"
	s := time.Second
	for _, tt := range []struct {
		name  string
		view  View
		inPod bool
		calls []call
	}{
		{"the pod's probes are known", known, true, []call{
			{0, node, Connection, 1, ByProbe, due},
			{0, node, Request, 1, ByProbe, "on a probe's connection"},
			{2 * s, other, Connection, 2, ByClient, ""},
			{3 * s, other, Dropped, 0, ByClient, ""},
			{5 * s, node, Connection, 3, ByProbe, due},
		}},
		{"on top of the probes", known, true, []call{
			{0, node, Connection, 1, ByProbe, due},
			{s, node, Request, 9, ByClient, top},
		}},
		{"a command", View{PodKnown: true, Probes: []Probe{{Period: 5 * time.Second, Local: true}}, PodAddrs: []netip.Addr{pod}}, true, []call{
			{0, pod, Connection, 1, ByProbe, "one of the pod's was due, and it comes from the pod"},
			{s, other, Request, 2, ByClient, ""},
		}},
		{"nothing is known but the node's address", View{}, true, []call{
			{0, node, Connection, 1, Unclear, maybe},
			{10 * s, node, Connection, 2, Unclear, maybe},
			{20 * s, node, Connection, 3, ByProbe, "one every 10s from this address"},
			{21 * s, other, Connection, 4, ByClient, ""},
			{30 * s, node, Connection, 5, ByProbe, "one every 10s from this address"},
		}},
		{"clients behind the node's address", View{}, true, []call{
			{0, node, Connection, 1, Unclear, maybe},
			{300 * time.Millisecond, node, Connection, 2, ByClient, "it comes from the node, but keeps no period"},
			{1300 * time.Millisecond, node, Connection, 3, Unclear, maybe},
			{1700 * time.Millisecond, node, Connection, 4, ByClient, "it comes from the node, but keeps no period"},
		}},
		{"no pod", View{}, false, []call{
			{0, node, Connection, 1, ByClient, ""}, {10 * s, node, Connection, 2, ByClient, ""}, {20 * s, node, Connection, 3, ByClient, ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := NewProbeRules([]netip.Addr{node}, tt.inPod)
			r.Learn(tt.view)
			start := time.Now()
			for i, c := range tt.calls {
				at := start.Add(c.after)
				whose, why := r.Record(Arrival{At: at, Opened: at, Kind: c.kind, Conn: c.conn, Port: 80, Peer: netip.AddrPortFrom(c.from, 4000)})
				if whose != c.whose || why != c.why {
					t.Errorf("call %d: %v, %q, want %v, %q", i, whose, why, c.whose, c.why)
				}
			}
		})
	}
}
