package wait_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lull/wait"
)

// severalProbes are the periods of several probes on one port, in seconds: those of a pod's
// containers and sidecars. The kubelet begins each when it likes.
var severalProbes = [][]ms{{1, 2}, {2, 1}, {3, 1}, {3, 2}, {2, 5}, {5, 10}, {10, 1}, {2, 2}, {3, 3, 3}, {1, 1, 2}, {2, 3, 5}, {10, 3, 1}}

// beats are their connections for 40 s, each up to so many ms late.
func beats(r *rand.Rand, addr netip.Addr, periods []ms, late int) (beats []func(time.Time) wait.Arrival) {
	for _, p := range periods {
		for at := 200 + ms(r.IntN(int(p)*1000)); at < 40_000; at += p * 1000 {
			beats = append(beats, connFrom(addr, at+ms(r.IntN(late))))
		}
	}
	return beats
}

// runSeveral runs the policy with these probes.
func runSeveral(t *testing.T, probes func(...time.Duration) func(*wait.View), periods []ms, arrivals []func(time.Time) wait.Arrival) (o wait.Outcome) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		kernel := &sockets{start: start, asked: start}
		for _, a := range arrivals {
			kernel.arrivals = append(kernel.arrivals, a(start))
		}
		var seconds []time.Duration
		for _, p := range periods {
			seconds = append(seconds, time.Duration(p)*time.Second)
		}
		o = defaults().Run(t.Context(), &cluster{start: start, says: removed(func(v *wait.View) { probes(seconds...)(v); v.Grace = time.Minute })}, kernel)
	})
	return o
}

// TestSeveralProbes: whatever their periods and phases, and where the node is busy, too, nobody is
// taken for a client where only probes come.
func TestSeveralProbes(t *testing.T) {
	for name, tt := range map[string]struct {
		from   netip.Addr
		probes func(...time.Duration) func(*wait.View)
	}{
		"from the node":      {nodeAddr, probing},
		"commands, loopback": {loopback, commands},
	} {
		for _, periods := range severalProbes {
			for _, late := range []int{20, 200} {
				t.Run(fmt.Sprintf("%s, every %v s, up to %d ms late", name, periods, late), func(t *testing.T) {
					for phases := range uint64(100) {
						arrivals := beats(rand.New(rand.NewPCG(phases, 0)), tt.from, periods, late)
						if o := runSeveral(t, tt.probes, periods, arrivals); o.Reason != wait.Quiet || o.Held > 5300*time.Millisecond {
							t.Fatalf("phases %d: ended with %v after %v, the last arrival at %v", phases, o.Reason, o.Held, o.Last)
						}
					}
				})
			}
		}
	}
}

// TestClientsBesideSeveralProbes: a client by the node's address counts beside them. For each of the
// probes one connection of it may be taken for that probe's, which is late, or has not come yet. (One
// whose period divides that of the probes may pass for what follows them: see followUp.)
func TestClientsBesideSeveralProbes(t *testing.T) {
	for _, periods := range severalProbes {
		for _, every := range []ms{50, 110, 240, 430, 740} {
			t.Run(fmt.Sprintf("every %v s, and a client every %d ms", periods, every), func(t *testing.T) {
				for phases := range uint64(100) {
					r := rand.New(rand.NewPCG(phases, 1))
					last := 6000 + ms(r.IntN(6000))
					client := []func(time.Time) wait.Arrival{}
					for at := last % every; at <= last; at += every {
						client = append(client, connFrom(nodeAddr, at))
					}
					o := runSeveral(t, probing, periods, slices.Concat(beats(r, nodeAddr, periods, 20), client))
					least := time.Duration(last-ms(len(periods))*every)*time.Millisecond + defaults().Quiet
					if o.Reason != wait.Quiet || o.Held < least {
						t.Fatalf("phases %d: ended with %v after %v, want %v at least", phases, o.Reason, o.Held, least)
					}
				}
			})
		}
	}
}
