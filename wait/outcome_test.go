package wait_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lull/wait"
)

// TestOutcome looks at the whole account of one eventful wait.
func TestOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		scraper := netip.MustParseAddr("10.9.9.9")
		policy := defaults()
		policy.Ignore = []netip.Prefix{netip.PrefixFrom(scraper, 32)}
		policy.KeepaliveWait = 6 * time.Second
		probe := wait.Probe{Port: 8080, Period: time.Second}
		view := views(func(v *wait.View) { v.Probes = []wait.Probe{probe} })
		rotating := views(func(v *wait.View) {
			v.Probes = []wait.Probe{probe}
			v.Services[0].InRotation = true
		})
		waiting := views(func(v *wait.View) {
			v.Probes = []wait.Probe{probe}
			v.Services[0].Ready, v.Services[0].Coming = 0, 1
		})
		control := &cluster{start: start, says: []says{{at: 20, view: rotating}, {at: 1000, view: waiting}, {at: 3000, view: view}}}
		kernel := &sockets{start: start, asked: start, loads: []load{
			{connFrom(nodeAddr, 0), 100, 60_000, 1000},
			{connFrom(scraper, 0), 500, 500, 1},
			{request(0, 0), 0, 60_000, 250},
			{conn(0), 3400, 3400, 1},
		}}
		var stages []wait.Stage
		policy.Progress = func(p wait.Progress) {
			if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
				stages = append(stages, p.Stage)
			}
		}
		got := policy.Run(t.Context(), control, kernel)
		want := wait.Outcome{
			Reason: wait.Quiet, Stage: wait.Lull,
			Held: 8400 * time.Millisecond, Budget: 20 * time.Second, Left: time.Second, Handed: 3 * time.Second,
			// The old connection is still in use, but it has been pinned since 7 s.
			Last:   conn(3400)(start),
			Pinned: 1,
			Ignored: []wait.Ignored{
				{Why: "readiness probes", From: nodeAddr, Count: 9},
				{Why: "named by --ignore", From: scraper, Count: 1},
			},
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("outcome (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]wait.Stage{wait.Removal, wait.Handover, wait.Lull}, stages); diff != "" {
			t.Errorf("stages told as progress (-want +got):\n%s", diff)
		}
	})
}

// TestLooks counts what a wait costs: a look a window, and three to learn which connections are
// open when the pod leaves rotation. By hand there is none to leave, and one tells the sockets what
// is watched.
func TestLooks(t *testing.T) {
	for name, tt := range map[string]struct {
		byHand bool
		loads  []load
		looks  int
		held   time.Duration
	}{
		"no traffic":           {false, nil, 4, 5060 * time.Millisecond},
		"ten a second, 12 s":   {false, []load{clients(0, 12_000, 100)}, 6, 17 * time.Second},
		"1,000 a second, 9 s":  {false, []load{clients(0, 9_000, 1)}, 6, 14 * time.Second},
		"no traffic, by hand":  {true, nil, 2, 5 * time.Second},
		"ten a second by hand": {true, []load{clients(0, 12_000, 100)}, 5, 17 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				kernel := &sockets{start: start, asked: start, loads: tt.loads}
				policy := defaults()
				var c wait.Cluster = &cluster{start: start, says: removed(nil)}
				if tt.byHand {
					policy.InPod, c = false, nil
				}
				o := policy.Run(t.Context(), c, kernel)
				if o.Held != tt.held || kernel.looks != tt.looks {
					t.Errorf("held for %v with %d looks, want %v with %d", o.Held, kernel.looks, tt.held, tt.looks)
				}
			})
		})
	}
}
