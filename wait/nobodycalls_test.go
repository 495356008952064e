package wait_test

import (
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"lull/testdata/markdown"
	"lull/wait"
)

var update = flag.Bool("update", false, "write README.md's table of pods that nobody calls anew")

// nobodyCalls are pods that nobody calls, with settings of ordinary clusters, and the hook's
// defaults.
var nobodyCalls = []struct {
	pod    string
	says   []says
	period ms // of its probes
	probes []load
	held   ms // at most. A redirect is learnt from two probes in a row, so these may hold it that long
}{
	{pod: "of a Deployment, grace period 30 s, no probe", says: removed(deployment), held: oneWindow},
	{pod: "grace period 60 s", says: removed(func(v *wait.View) { deployment(v); v.Grace = time.Minute }), held: oneWindow},
	{pod: "grace period 10 s", says: removed(func(v *wait.View) { deployment(v); v.Grace = 10 * time.Second }), held: oneWindow},
	{pod: "probed by HTTP, gRPC or TCP every second", says: probed(time.Second), period: 1000, probes: []load{probes(1000)}, held: oneWindow},
	{pod: "probed so every 5 s", says: probed(5 * time.Second), period: 5000, probes: []load{probes(5000)}, held: oneWindow},
	{pod: "probed so every 10 s", says: probed(10 * time.Second), period: 10_000, probes: []load{probes(10_000)}, held: oneWindow},
	{pod: "probed by HTTP every 2 s, answered by a redirect", says: probed(2 * time.Second), period: 2000, probes: []load{probes(2000), redirected(2000)}, held: 2 * oneWindow},
	{pod: "probed so every 10 s, answered by a redirect", says: probed(10 * time.Second), period: 10_000, probes: []load{probes(10_000), redirected(10_000)}, held: 2 * oneWindow},
	{pod: "probed so every 10 s, answered by a redirect, grace period 10 s", says: removed(func(v *wait.View) { deployment(v); probing(10 * time.Second)(v); v.Grace = 10 * time.Second }),
		period: 10_000, probes: []load{probes(10_000), redirected(10_000)}, held: oneWindow},
	{pod: "probed by a command that connects over loopback every 2 s", says: removed(commands(2 * time.Second)), period: 2000, probes: []load{overLoopback(2000)}, held: oneWindow},
	{pod: "probed by such a command every 10 s", says: removed(commands(10 * time.Second)), period: 10_000, probes: []load{overLoopback(10_000)}, held: oneWindow},
	{pod: "in no Service", says: []says{{at: 30, view: views(func(v *wait.View) { v.Services, v.Ports, v.Declared = nil, nil, []uint16{8080} })}}, held: oneWindow},
	{pod: "with the node's network, probed every second", says: removed(func(v *wait.View) {
		probing(time.Second)(v)
		v.HostNetwork, v.PodAddrs = true, []netip.Addr{nodeAddr}
	}), period: 1000, probes: []load{probes(1000)}, held: oneWindow},
	{pod: "with the node's network and no port, in no Service", says: onNode(30 * time.Second), held: 16_500},
	{pod: "such a pod, grace period 20 s", says: onNode(20 * time.Second), held: 16_500},
	{pod: "such a pod, grace period 10 s", says: onNode(10 * time.Second), held: 8500},
	{pod: "the only one of a StatefulSet", says: removed(func(v *wait.View) { v.Owner, v.Services[0].Ready = "StatefulSet", 0 }), held: oneWindow},
	{pod: "of a DaemonSet", says: removed(func(v *wait.View) { v.Owner = "DaemonSet" }), held: oneWindow},
	{pod: "with a standby beside it that has long been unready", says: removed(func(v *wait.View) { deployment(v); v.Services[0].Ready, v.Services[0].StandBy = 0, 1 }), held: oneWindow},
	{pod: "the only one of a Deployment, its replacement ready 4 s later", held: 4000 + oneWindow,
		says: append(removed(func(v *wait.View) { deployment(v); v.Services[0].Ready, v.Services[0].Coming = 0, 1 }), says{at: 4060, view: views(deployment)})},
	{pod: "in a Service that publishes addresses which are not ready", says: removed(func(v *wait.View) { deployment(v); v.Services[0].AlwaysReady = true }), held: oneWindow},
	{pod: "in a Service whose slices somebody else writes, and leaves as they are", held: 2 * oneWindow, says: removed(func(v *wait.View) {
		v.Services = append(v.Services, wait.Service{Name: "mirror", InRotation: true, Unmanaged: true, Ready: 1})
	})},
	{pod: "whose container is restarted, or which the kubelet evicts", says: []says{{at: 30, view: views(func(v *wait.View) { in(v); v.Deleting = false })}}, held: oneWindow},
	{pod: "without the right to read EndpointSlices", held: 2 * oneWindow,
		says: []says{{at: 30, view: wait.View{PodKnown: true, Deleting: true, Grace: 30 * time.Second, Refused: true, SlicesRefused: true}}}},
}

// onNode is a pod with the node's network, of which no port is known.
func onNode(grace time.Duration) []says {
	return []says{{at: 30, view: views(func(v *wait.View) { v.Services, v.Ports, v.HostNetwork, v.Grace = nil, nil, true, grace })}}
}

// oneWindow is --quiet by default, what the removal takes, and a second to spare.
const oneWindow ms = 6500

func deployment(v *wait.View) { v.Owner = "ReplicaSet" }

func probed(period time.Duration) []says {
	return removed(func(v *wait.View) { deployment(v); probing(period)(v) })
}

func redirected(every ms) load { return load{connFrom(nodeAddr, 0), 220, 60_000, every} }

func overLoopback(every ms) load { return load{connFrom(loopback, 0), 200, 60_000, every} }

// TestNobodyCalls checks how long the hook holds a pod that nobody calls, wherever in their period
// its probes are when it begins, and that README.md's table says so.
func TestNobodyCalls(t *testing.T) {
	const shift ms = 250
	text := "| a pod | held | exit code |\n|---|---|---|\n"
	for _, tt := range nobodyCalls {
		t.Run(tt.pod, func(t *testing.T) {
			least, most, code := time.Hour, time.Duration(0), 0
			for phase := ms(0); phase <= max(0, tt.period-shift); phase += shift {
				o := holdUncalled(t, tt.says, tt.probes, phase)
				if o.Reason == wait.Budget {
					code = 3
				}
				if limit := time.Duration(tt.held) * time.Millisecond; o.Reason == wait.Budget || o.Held > limit {
					t.Errorf("probes %d ms later: ended with %v after %v, want %v at most", phase, o.Reason, o.Held, limit)
				}
				least, most = min(least, o.Held), max(most, o.Held)
			}
			held := fmt.Sprintf("%.1f s", most.Seconds())
			if short := fmt.Sprintf("%.1f", least.Seconds()); short+" s" != held {
				held = short + " to " + held
			}
			text += fmt.Sprintf("| %s | %s | %d |\n", tt.pod, held, code)
		})
	}
	same, err := markdown.Section("README.md", "nobody-calls", text, *update)
	if err != nil {
		t.Fatal(err)
	}
	if !same && !*update {
		t.Errorf("wait/README.md: the table of pods that nobody calls is stale: go test ./wait -run TestNobodyCalls -update\n%s", text)
	}
}

// holdUncalled runs the default policy, with the probes later by the phase.
func holdUncalled(t *testing.T, control []says, probes []load, phase ms) (o wait.Outcome) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		fake := &sockets{start: start, asked: start}
		for _, l := range probes {
			l.from += phase
			fake.loads = append(fake.loads, l)
		}
		o = defaults().Run(t.Context(), &cluster{start: start, says: control}, fake)
	})
	return o
}
