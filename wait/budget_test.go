package wait_test

import (
	"context"
	"lull/wait"
	"net/netip"
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	grace := func(d time.Duration) func(*wait.View) { return func(v *wait.View) { v.Grace = d } }
	flood := []load{clients(0, 200_000, 10)}
	for _, tl := range []timeline{
		{name: "in the removal", says: []says{{at: 30, view: views(in)}}, loads: flood, reason: wait.Budget, stage: wait.Removal, held: 20_000},
		{name: "in the lull, grace period 60 s", says: removed(grace(time.Minute)), loads: flood, reason: wait.Budget, stage: wait.Lull, held: 50_000},
		{name: "reserve is at most half", says: removed(grace(18 * time.Second)), loads: flood, reason: wait.Budget, held: 9000},
		{name: "reserve gives way to a window", says: removed(grace(8 * time.Second)), loads: flood, reason: wait.Budget, held: 6000},
		{name: "reserve gives way, but a fifth is left", says: removed(grace(7 * time.Second)), loads: flood, reason: wait.Budget, held: 5600,
			story: []string{"at least 5s of waiting do not fit in: raise terminationGracePeriodSeconds"}},
		{name: "reserve gives way, but a second is left", says: removed(grace(4 * time.Second)), loads: flood, reason: wait.Budget, held: 3000},
		{name: "a grace period of 10 s and nobody calls", says: removed(grace(10 * time.Second)), reason: wait.Quiet, held: 5060, story: []string{"budget 6s: grace period 10s less 4s for the app"}},
		{name: "reserve gives way to --min", policy: func(p *wait.Policy) { p.Min = 20 * time.Second }, says: removed(nil), reason: wait.Quiet, held: 20_060,
			story: []string{"budget 21s: grace period 30s less 9s for the app"}},
		{name: "reserve gives way to twice the window without slices", noCluster: true, policy: func(p *wait.Policy) { p.Quiet = 11 * time.Second }, reason: wait.Quiet, held: 22_000,
			story: []string{"taking 30s less 7s for the app"}},
		{name: "twice the window without slices does not fit", noCluster: true, policy: func(p *wait.Policy) { p.Quiet = 13 * time.Second }, reason: wait.Budget, held: 24_000,
			story: []string{"taking 30s less 6s for the app; at least 26s of waiting do not fit in: set --timeout to what there is"}},
		{name: "a restart has a grace period of its own", says: []says{{at: 30, view: views(func(v *wait.View) { v.Deleting = false; v.RestartGrace = 8 * time.Second })}}, loads: flood, reason: wait.Budget, held: 6000},
		{name: "a deletion does not have that of a restart", says: []says{{at: 30, view: views(func(v *wait.View) { v.RestartGrace = 8 * time.Second })}}, loads: flood, reason: wait.Budget, held: 20_000},
		{name: "nor has a pod whose time is up", says: []says{{at: 30, view: views(func(v *wait.View) {
			v.Deleting, v.Ended, v.RestartGrace = false, "Failed: DeadlineExceeded", time.Second
		})}}, loads: []load{clients(0, 2000, 100)}, reason: wait.Quiet, held: 7000},
		{name: "a restart's is too short", says: []says{{at: 30, view: views(func(v *wait.View) { v.Deleting, v.RestartGrace = false, 5*time.Second })}}, loads: flood, reason: wait.Budget, held: 4000,
			story: []string{"do not fit in: raise the probe's terminationGracePeriodSeconds"}},
		{name: "reserve gives way to twice the window where slices need not follow", says: removed(func(v *wait.View) { mirrored(v); v.Grace = 20 * time.Second }), reason: wait.Quiet, held: 10_000},
		{name: "twice the window where slices need not follow does not fit", says: removed(func(v *wait.View) { mirrored(v); v.Grace = 10 * time.Second }), reason: wait.Budget, held: 8000,
			story: []string{"at least 10s of waiting do not fit in"}},
		{name: "the grace period is unknown", says: []says{{at: 30, view: views(func(v *wait.View) { v.PodKnown, v.Deleting, v.Refused = false, false, true })}}, loads: flood,
			reason: wait.Budget, held: 20_000, story: []string{"; set --timeout to what there is"}},
		{name: "reserve gives way to an app that is asked to let go and answers late", reason: wait.Quiet, held: 6560,
			policy: func(p *wait.Policy) {
				p.Drain = func(context.Context, func(netip.AddrPort)) wait.Drained {
					time.Sleep(1500 * time.Millisecond)
					return wait.Drained{Asked: "POST"}
				}
			}, says: removed(grace(10 * time.Second))},
		{name: "no grace period at all", says: removed(grace(0)), reason: wait.Budget, held: 30},
		{name: "grace shortened", loads: flood, reason: wait.Budget, held: 14_000,
			says: []says{{at: 30, view: views(nil)}, {at: 3000, view: views(grace(24 * time.Second))}}},
		{name: "grace shortened to what has passed", loads: flood, reason: wait.Budget, held: 9000,
			says: []says{{at: 30, view: views(nil)}, {at: 9000, view: views(grace(12 * time.Second))}}},
		{name: "grace shortened while a look is under way", loads: flood, takes: 4 * time.Second, reason: wait.Budget, held: 7000,
			says: []says{{at: 30, view: views(nil)}, {at: 7000, view: views(grace(12 * time.Second))}}},
		{name: "grace shortened while a look hangs", loads: flood, hangs: 4000, reason: wait.Budget, held: 14_000,
			says: []says{{at: 30, view: views(nil)}, {at: 7000, view: views(grace(24 * time.Second))}}},
		{name: "grace shortened in good time while a look is under way", loads: flood, takes: 3 * time.Second, reason: wait.Budget, held: 6000,
			says: []says{{at: 30, view: views(nil)}, {at: 5500, view: views(grace(12 * time.Second))}}},
		{name: "the pod is read while a look is under way, and has more time", takes: 2500 * time.Millisecond, reason: wait.Quiet, held: 27_530,
			loads: []load{clients(0, 19_690, 10)},
			says:  []says{{at: 30, view: views(func(v *wait.View) { v.PodKnown = false; v.Deleting = false })}, {at: 19_000, view: views(grace(time.Minute))}}},
		{name: "the pod is read at the very end while a look hangs, and has more time", hangs: 15_000, reason: wait.Budget, held: 50_000, loads: flood,
			says: []says{{at: 30, view: views(func(v *wait.View) { v.PodKnown = false; v.Deleting = false })}, {at: 20_000, view: views(grace(time.Minute))}}},
		{name: "timeout", policy: func(p *wait.Policy) { p.Timeout = 7 * time.Second }, says: removed(nil), loads: flood, reason: wait.Budget, held: 7000},
		{name: "timeout beyond the grace period", policy: func(p *wait.Policy) { p.Timeout = time.Minute }, says: removed(nil), loads: flood, reason: wait.Budget, held: 20_000,
			story: []string{"the timeout of 60s does not fit in"}},
		{name: "timeout, no cluster", policy: func(p *wait.Policy) { p.Timeout = time.Minute }, noCluster: true, loads: flood, reason: wait.Budget, held: 60_000},
		{name: "force delete", says: []says{{at: 30, view: views(func(v *wait.View) { v.Services = nil; v.Grace = time.Second })}}, reason: wait.Budget, held: 500},
		{name: "sockets that hang", says: removed(nil), hangs: 4000, reason: wait.Budget, stage: wait.Lull, held: 20_000},
		{name: "a control plane that never answers", says: nil, loads: flood, reason: wait.Budget, held: 20_000},
	} {
		t.Run(tl.name, tl.run)
	}
}
