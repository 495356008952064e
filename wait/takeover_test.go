package wait_test

import (
	"testing"
	"time"

	"lull/wait"
)

func TestHandover(t *testing.T) {
	mode := func(m wait.HandoverMode) func(*wait.Policy) {
		return func(p *wait.Policy) { p.Handover = m }
	}
	others := func(ready, coming int) wait.View {
		return views(func(v *wait.View) { v.Services[0].Ready, v.Services[0].Coming = ready, coming })
	}
	replaced := []says{{at: 30, view: views(in)}, {at: 60, view: others(0, 1)}, {at: 4000, view: others(1, 0)}}
	alone := []says{{at: 30, view: others(0, 0)}}
	for _, tl := range []timeline{
		{name: "auto, a replacement on its way", says: replaced, loads: []load{clients(0, 4500, 10)}, reason: wait.Quiet, held: 9500,
			story: []string{"no other endpoint is ready (Service web)", "no replacement is awaited any more after 4s"}},
		{name: "auto, no traffic either", says: replaced, reason: wait.Quiet, held: 9000},
		{name: "auto, none on its way", says: alone, reason: wait.Quiet, held: 5030},
		{name: "auto, one that shows up late", says: []says{{at: 30, view: others(0, 0)}, {at: 2000, view: others(0, 1)}, {at: 6000, view: others(1, 0)}}, reason: wait.Quiet, held: 11_000},
		{name: "auto, one that never becomes ready", says: []says{{at: 30, view: others(0, 1)}}, reason: wait.Budget, stage: wait.Handover, held: 20_000},
		{name: "auto, one that is given up", says: []says{{at: 30, view: others(0, 1)}, {at: 3000, view: others(0, 0)}}, reason: wait.Quiet, held: 8000},
		{name: "auto, nobody would be routed here", says: []says{{at: 30, view: views(func(v *wait.View) { v.Services[0] = wait.Service{Name: "web", Coming: 1} })}}, reason: wait.Quiet, held: 5030},
		{name: "auto, clients look the endpoints up", says: []says{{at: 30, view: views(func(v *wait.View) {
			v.Services[0] = wait.Service{Name: "web", Serving: true, Headless: true, Coming: 1}
		})}}, reason: wait.Quiet, held: 5030},
		{name: "auto, not being deleted", says: []says{{at: 30, view: views(func(v *wait.View) {
			v.Deleting = false
			v.Services[0] = wait.Service{Name: "web", Serving: true, Coming: 1}
		})}}, reason: wait.Quiet, held: 5030},
		{name: "always, none on its way", policy: mode(wait.HandoverAlways), says: alone, reason: wait.Budget, stage: wait.Handover, held: 20_000},
		{name: "always, one appears", policy: mode(wait.HandoverAlways), says: []says{{at: 30, view: others(0, 0)}, {at: 5000, view: others(0, 1)}, {at: 9000, view: others(1, 0)}}, reason: wait.Quiet, held: 14_000},
		{name: "never", policy: mode(wait.HandoverNever), says: replaced, reason: wait.Quiet, held: 5060},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestAlone: where nobody can take over before the pod has ended, kube-proxy goes on sending here,
// and no wait ends that.
func TestAlone(t *testing.T) {
	alone := func(owner string, change func(*wait.View)) []says {
		return removed(func(v *wait.View) {
			v.Owner, v.Services[0].Ready = owner, 0
			if change != nil {
				change(v)
			}
		})
	}
	traffic := []load{clients(0, 60_000, 100)}
	never := func(p *wait.Policy) { p.Handover = wait.HandoverNever }
	for _, tl := range []timeline{
		{name: "a StatefulSet of one under traffic", says: alone("StatefulSet", nil), loads: traffic, reason: wait.Alone, stage: wait.Lull, held: 5060,
			story: []string{
				"nobody can take over before this pod has ended (Service web; a StatefulSet makes another pod only then), so traffic need not end: leaving 5s after the removal",
				"nobody can take over before this pod has ended, and traffic goes on (",
			}},
		{name: "and nobody calls", says: alone("StatefulSet", nil), reason: wait.Quiet, held: 5060, story: []string{"quiet for 5s"}},
		{name: "a DaemonSet", says: alone("DaemonSet", nil), loads: traffic, reason: wait.Alone, held: 5060},
		{name: "no owner", says: alone("", nil), loads: traffic, reason: wait.Alone, held: 5060, story: []string{"it has no owner that makes another pod"}},
		{name: "a ReplicaSet makes another one", says: alone("ReplicaSet", nil), loads: traffic, reason: wait.Budget, held: 20_000,
			story: []string{"no other endpoint is ready or coming (Service web): if none is to come (strategy Recreate, scaled to zero), set --handover=never"}},
		{name: "an owner that is not known makes another one only then", says: alone("StrimziPodSet", nil), loads: traffic, reason: wait.Alone, held: 5060},
		{name: "never, and no other is listed", policy: never, says: alone("ReplicaSet", nil), loads: traffic, reason: wait.Alone, held: 5060,
			story: []string{"(Service web; --handover=never waits for nobody)"}},
		{name: "never, and one is coming", policy: never, says: alone("ReplicaSet", func(v *wait.View) { v.Services[0].Coming = 1 }), loads: traffic, reason: wait.Alone, held: 5060},
		{name: "never, and another is ready", policy: never, says: alone("ReplicaSet", func(v *wait.View) { v.Services[0].Ready = 1 }), loads: traffic, reason: wait.Budget, held: 20_000},
		{name: "its clients look the endpoints up", says: alone("StatefulSet", func(v *wait.View) { v.Services[0].Headless = true }), loads: traffic, reason: wait.Budget, held: 20_000},
		{name: "and a Service whose clients look all of them up", reason: wait.Alone, held: 5060, loads: traffic,
			says: alone("StatefulSet", func(v *wait.View) {
				v.Services = append(v.Services, wait.Service{Name: "all", Headless: true, Serving: true, Ready: 2})
			})},
		{name: "by one of its Services", reason: wait.Budget, held: 20_000, loads: traffic, story: []string{"no other endpoint is ready or coming (Service web), so no wait ends traffic that comes by it"},
			says: alone("StatefulSet", func(v *wait.View) {
				v.Services = append(v.Services, wait.Service{Name: "all", Serving: true, Ready: 2})
			})},
		{name: "min", policy: func(p *wait.Policy) { p.Min = 8 * time.Second }, says: alone("StatefulSet", nil), loads: traffic, reason: wait.Alone, held: 8060},
		{name: "always", policy: func(p *wait.Policy) { p.Handover = wait.HandoverAlways }, says: alone("StatefulSet", nil), loads: traffic, reason: wait.Budget, stage: wait.Handover, held: 20_000},
		{name: "another replica is ready", says: alone("StatefulSet", func(v *wait.View) { v.Services[0].Ready = 1 }), loads: traffic, reason: wait.Budget, held: 20_000},
		{name: "another replica is coming", says: alone("StatefulSet", func(v *wait.View) { v.Services[0].Coming = 1 }), loads: traffic, reason: wait.Budget, stage: wait.Handover, held: 20_000},
		{name: "another Service has other endpoints", reason: wait.Budget, held: 20_000, loads: traffic,
			says: alone("StatefulSet", func(v *wait.View) { v.Services = append(v.Services, wait.Service{Name: "api", Ready: 1}) })},
		{name: "readiness fails: nobody sends here", says: alone("StatefulSet", func(v *wait.View) { v.Services[0].Serving = false }), loads: traffic, reason: wait.Budget, held: 20_000},
		{name: "not being deleted", says: alone("StatefulSet", func(v *wait.View) { v.Deleting = false; v.Services[0].InRotation = false }), loads: traffic, reason: wait.Budget, held: 20_000},
		{name: "another one becomes ready after all", loads: []load{clients(0, 4000, 100)}, reason: wait.Quiet, held: 9000,
			says: append(alone("StatefulSet", nil), says{at: 3000, view: views(func(v *wait.View) { v.Owner = "StatefulSet" })})},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestStandBy: an endpoint that has been unready for long is no replacement on its way.
func TestStandBy(t *testing.T) {
	steady := func(v *wait.View) {
		v.Owner, v.Services[0].Ready, v.Services[0].StandBy, v.Services[0].Steady, v.Services[0].Coming = "ReplicaSet", 0, 1, 1, 1
	}
	standing := removed(func(v *wait.View) {
		v.Owner, v.Services[0].Ready, v.Services[0].StandBy = "ReplicaSet", 0, 1
	})
	for _, tl := range []timeline{
		{name: "auto", says: standing, reason: wait.Quiet, held: 5060,
			story: []string{"those that are listed have been unready for long: not waiting for them (--handover=always does)"}},
		{name: "always", policy: func(p *wait.Policy) { p.Handover = wait.HandoverAlways }, says: standing, reason: wait.Budget, stage: wait.Handover, held: 20_000,
			story: []string{"ran out while waiting for the replacement to become ready (Service web): if it cannot before this pod ends, set --handover=never"}},
		{name: "one that fails, and a young one", says: removed(func(v *wait.View) {
			v.Owner, v.Services[0].Ready, v.Services[0].StandBy, v.Services[0].Coming = "ReplicaSet", 0, 1, 1
		}), reason: wait.Budget, stage: wait.Handover, held: 20_000},
		{name: "one that waits to be the leader, and a young one that will", says: removed(steady),
			loads: []load{clients(0, 60_000, 100)}, reason: wait.Alone, held: 10_060, story: []string{"(Service web; the other endpoints are not ready, some of them for long)"}},
		{name: "one that waits to be the leader, and a young one, and nobody calls", says: removed(steady), reason: wait.Quiet, held: 5060},
		{name: "one that is broken, and a young one that is ready soon", loads: []load{clients(0, 4500, 100)}, reason: wait.Quiet, held: 9500,
			says: append(removed(steady), says{at: 4000, view: views(func(v *wait.View) { v.Owner = "ReplicaSet" })})},
		{name: "one that is broken, a young one, and one that is ready", says: removed(func(v *wait.View) { steady(v); v.Services[0].Ready = 1 }),
			loads: []load{clients(0, 12_000, 100)}, reason: wait.Quiet, held: 17_000},
		{name: "some of a Service whose clients look them up", says: removed(func(v *wait.View) { steady(v); v.Services[0].Headless = true }),
			policy: func(p *wait.Policy) { p.Min = 12 * time.Second }, reason: wait.Quiet, held: 12_060},
		{name: "some, and another Service has one that is ready", loads: []load{clients(0, 12_000, 100)}, reason: wait.Quiet, held: 17_000,
			says: removed(func(v *wait.View) {
				steady(v)
				v.Services = append(v.Services, wait.Service{Name: "api", Serving: true, Ready: 1})
			})},
		{name: "some, and then the control plane is silent", says: removed(steady), silence: [2]ms{2000, 60_000},
			loads: []load{clients(0, 60_000, 100)}, reason: wait.Alone, held: 10_060},
		{name: "one that is broken, and a young one that is ready later", loads: []load{clients(0, 8500, 100)}, reason: wait.Quiet, held: 13_500,
			says: append(removed(steady), says{at: 8000, view: views(func(v *wait.View) { v.Owner = "ReplicaSet" })})},
		{name: "never", policy: func(p *wait.Policy) { p.Handover = wait.HandoverNever }, says: standing, reason: wait.Quiet, held: 5060},
	} {
		t.Run(tl.name, tl.run)
	}
}

// mirrored is a Service besides whose slices nobody promises to keep up to date.
func mirrored(v *wait.View) {
	v.Services = append(v.Services, wait.Service{Name: "mirror", InRotation: true, Unmanaged: true, Ready: 1})
}

// TestUnmanaged: slices of another controller than the endpoint controller's may follow a deletion,
// but nobody promises it.
func TestUnmanaged(t *testing.T) {
	only := func(v *wait.View) {
		v.Services = []wait.Service{{Name: "manual", InRotation: true, Unmanaged: true, Ready: 1}}
	}
	follows := func(at ms) []says { return append(removed(mirrored), says{at: at, view: views(nil)}) }
	for _, tl := range []timeline{
		{name: "stays", says: removed(mirrored), reason: wait.Quiet, held: 10_000,
			story: []string{"Service mirror: the slices are not the endpoint controller's and have the pod ready still: not waiting for them, but for at least 10s in all"}},
		{name: "stays, with traffic", says: removed(mirrored), loads: []load{clients(0, 8000, 50)}, reason: wait.Quiet, held: 13_000},
		{name: "follows at once", says: follows(60), reason: wait.Quiet, held: 5060},
		{name: "follows after a second", says: follows(1060), reason: wait.Quiet, held: 6060, story: []string{"out of rotation by the other slices too after 1.1s (Service mirror)"}},
		{name: "follows late", says: follows(7000), reason: wait.Quiet, held: 12_000},
		{name: "no other slices", says: []says{{at: 30, view: views(only)}}, reason: wait.Quiet, held: 10_000},
		{name: "no other slices, not being deleted", says: []says{{at: 30, view: views(func(v *wait.View) { only(v); v.Deleting = false })}}, reason: wait.Restart, held: 530},
	} {
		t.Run(tl.name, tl.run)
	}
}
