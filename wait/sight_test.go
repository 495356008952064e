package wait_test

import (
	"context"
	"errors"
	"fmt"
	"lull/wait"
	"testing"
	"testing/synctest"
	"time"
)

func TestLosingSight(t *testing.T) {
	refused := wait.View{Err: errors.New("no permission to list endpointslices"), Refused: true, SlicesRefused: true}
	down := errors.New("connection refused")
	for _, tl := range []timeline{
		{name: "skipped", noCluster: true, reason: wait.Quiet, held: 10_000, story: []string{"going by the sockets alone, for at least 10s"}},
		{name: "skipped, with traffic", noCluster: true, loads: []load{clients(0, 7000, 10)}, reason: wait.Quiet, held: 12_000},
		{name: "no Kubernetes at all", noCluster: true, policy: func(p *wait.Policy) { p.InPod = false }, reason: wait.Quiet, held: 5000},
		{name: "no permission", says: []says{{at: 0, view: refused}}, reason: wait.Quiet, held: 10_000, story: []string{"for at least 10s: no permission to list endpointslices"}},
		{name: "no permission, told late", says: []says{{at: 2000, view: refused}}, reason: wait.Quiet, held: 10_000},
		{name: "no permission, traffic", says: []says{{at: 0, view: refused}}, loads: []load{clients(0, 8000, 10)}, reason: wait.Quiet, held: 13_000},
		{name: "no permission, short window", policy: func(p *wait.Policy) { p.Quiet = time.Second }, says: []says{{at: 0, view: refused}}, reason: wait.Quiet, held: 2000},
		{name: "pod refused, slices known a moment later", says: []says{{at: 5, view: wait.View{Err: down, Refused: true}}, {at: 10, view: views(func(v *wait.View) { v.PodKnown, v.Deleting, v.Err, v.Refused = false, false, down, true })}},
			reason: wait.Quiet, held: 5010, story: []string{"the pod cannot be read", "Service web"}},
		{name: "down, and the budget is short", says: []says{{at: 30, view: views(func(v *wait.View) { in(v); v.Grace = 18 * time.Second })}}, silence: [2]ms{2000, 60_000}, err: down,
			reason: wait.Budget, stage: wait.Removal, held: 9000, story: []string{"pod to leave rotation (Service web): connection refused"}},
		{name: "pod known, slices refused", says: []says{{at: 10, view: wait.View{PodKnown: true, Deleting: true, Grace: 20 * time.Second, Err: down, Refused: true, SlicesRefused: true}}},
			loads: []load{clients(0, 60_000, 10)}, reason: wait.Budget, held: 11_000},
		{name: "pages of slices arrive to the end: a window still fits", says: paging(200), reason: wait.Quiet, held: 14_000},
		{name: "pages of slices arrive to the end, traffic", says: paging(200), loads: []load{clients(0, 8000, 10)}, reason: wait.Quiet, held: 14_000},
		{name: "pages of slices arrive for 12 s", says: append(paging(12), says{at: 12_500, view: views(nil)}), reason: wait.Quiet, held: 17_500},
		{name: "down before the hook", silence: [2]ms{0, 60_000}, err: down, reason: wait.Quiet, held: 10_000, story: []string{"connection refused"}},
		{name: "down before the hook, short window", policy: func(p *wait.Policy) { p.Quiet = time.Second }, silence: [2]ms{0, 60_000}, err: down, reason: wait.Quiet, held: 10_000},
		{name: "down before the hook, back after 4 s", says: removed(nil), silence: [2]ms{0, 4000}, err: down, reason: wait.Quiet, held: 9000},
		{name: "down during the removal", says: []says{{at: 30, view: views(in)}, {at: 3000, view: views(nil)}}, silence: [2]ms{2000, 60_000}, err: down, reason: wait.Quiet, held: 12_000},
		{name: "down during the removal, traffic goes on", says: []says{{at: 30, view: views(in)}}, silence: [2]ms{2000, 60_000}, err: down,
			loads: []load{clients(0, 10_500, 10)}, reason: wait.Quiet, held: 15_500},
		{name: "down during the removal, back after 5 s", says: []says{{at: 30, view: views(in)}, {at: 3000, view: views(nil)}}, silence: [2]ms{2000, 7000}, err: down, reason: wait.Quiet, held: 12_000},
		{name: "down during the removal, back after 12 s and still in rotation", says: []says{{at: 30, view: views(in)}, {at: 16_000, view: views(nil)}}, silence: [2]ms{2000, 14_000}, err: down,
			policy: func(p *wait.Policy) { p.Quiet = 3 * time.Second }, loads: []load{clients(0, 13_000, 10)}, reason: wait.Quiet, held: 19_000,
			story: []string{"answers again"}},
		{name: "down during the handover", says: []says{{at: 30, view: views(func(v *wait.View) { v.Services[0].Ready, v.Services[0].Coming = 0, 1 })}}, silence: [2]ms{2000, 60_000}, err: down,
			reason: wait.Quiet, held: 12_000},
		{name: "down during the handover, and what came since the last look", policy: func(p *wait.Policy) { p.Quiet = time.Second },
			says: []says{{at: 30, view: views(func(v *wait.View) { v.Services[0].Ready, v.Services[0].Coming = 0, 1 })}}, silence: [2]ms{1000, 60_000}, err: down,
			loads: []load{clients(3000, 10_500, 10)}, reason: wait.Quiet, held: 11_500},
		{name: "down during the lull", says: removed(nil), silence: [2]ms{2000, 60_000}, err: down, reason: wait.Quiet, held: 5060},
		{name: "down during the lull, traffic", says: removed(nil), silence: [2]ms{2000, 60_000}, err: down, loads: []load{clients(0, 13_000, 10)}, reason: wait.Quiet, held: 18_000},
		{name: "no sockets", says: removed(nil), noSockets: true, reason: wait.Slept, held: 15_060, story: []string{"sleeping for 15s instead"}},
		{name: "no sockets, long window", policy: func(p *wait.Policy) { p.Quiet = 17 * time.Second }, says: removed(nil), noSockets: true, reason: wait.Slept, held: 17_060},
		{name: "no sockets, no API", noCluster: true, noSockets: true, reason: wait.Slept, held: 15_000},
		{name: "no sockets, and the app gives of its share", says: removed(func(v *wait.View) { v.Grace = 20 * time.Second }), noSockets: true, reason: wait.Slept, held: 15_060},
		{name: "no sockets, small budget", says: removed(func(v *wait.View) { v.Grace = 10 * time.Second }), noSockets: true, reason: wait.Budget, held: 8000,
			story: []string{"at least 15s of waiting do not fit in"}},
		{name: "no port to watch, small budget: no failure", says: onNode(10 * time.Second), reason: wait.Slept, held: 8000},
		{name: "the sockets are lost on the way", says: removed(nil), fails: 4000, reason: wait.Budget, held: 20_000, story: []string{"netlink: no buffer space"}},
		{name: "the sockets are lost on the way, in a longer grace period", says: removed(func(v *wait.View) { v.Grace = 40 * time.Second }), fails: 4000, reason: wait.Slept, held: 20_060},
	} {
		t.Run(tl.name, tl.run)
	}
}

// TestStopped: while the process is stopped (SIGSTOP, a frozen cgroup) the control plane is not
// silent, the hook is. It must not leave before it has heard it again.
func TestStopped(t *testing.T) {
	for _, stop := range []time.Duration{5 * time.Second, 15 * time.Second} {
		t.Run(stop.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				// It hears of the deletion at 17 s, 100 ms after it can.
				control := &cluster{start: start, says: []says{{at: 30, view: views(in)}, {at: 17_000, view: views(nil)}}}
				policy := defaults()
				kernel := &sockets{start: start, asked: start, loads: []load{clients(0, 3000, 10)}}
				o := policy.Run(t.Context(), &stopping{cluster: control, after: time.Second, stop: stop}, kernel)
				if o.Reason != wait.Budget && o.Held < 22*time.Second {
					t.Errorf("ended with %v in stage %v after %v", o.Reason, o.Stage, o.Held)

				}
			})
		})
	}
}

// TestStoppedInALook: the same while the kernel is being asked. A replacement is ready at 40 s.
func TestStoppedInALook(t *testing.T) {
	for _, stop := range []time.Duration{5 * time.Second, 15 * time.Second} {
		for _, late := range []time.Duration{30 * time.Millisecond, 200 * time.Millisecond, time.Second, 2 * time.Second} {
			t.Run(fmt.Sprint(stop, ", heard after ", late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					awaiting := func(v *wait.View) { v.Grace, v.Services[0].Ready, v.Services[0].Coming = 90*time.Second, 0, 1 }
					control := &cluster{start: start, says: []says{
						{at: 30, view: views(in)}, {at: 1000, view: views(awaiting)},
						{at: 40_000, view: views(func(v *wait.View) { v.Grace = 90 * time.Second })},
					}}
					kernel := &stoppingLook{&sockets{start: start, asked: start, takes: 60 * time.Millisecond}, control, 1900 * time.Millisecond, stop, late}
					if o := defaults().Run(t.Context(), control, kernel); o.Reason != wait.Quiet || o.Held < 45*time.Second || o.Held > 46*time.Second {
						t.Errorf("ended with %v in stage %v after %v", o.Reason, o.Stage, o.Held)
					}
				})
			})
		}
	}
}

// stoppingLook stops the process once, in the first look after so long. The control plane is heard
// a while after it goes on.
type stoppingLook struct {
	*sockets
	control           *cluster
	after, stop, late time.Duration
}

func (s *stoppingLook) Arrivals(ctx context.Context, ports []uint16, yield func(wait.Arrival), open func(wait.Conn)) (bool, error) {
	if since := time.Since(s.start); s.control.silence[1] == 0 && since >= s.after {
		s.control.silence = [2]ms{ms(since.Milliseconds()), ms((since + s.stop + s.late).Milliseconds())}
		time.Sleep(s.stop)
	}
	return s.sockets.Arrivals(ctx, ports, yield, open)
}

// TestStoppedAfterALook: what came while the process was stopped is looked for before it ends.
func TestStoppedAfterALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		control := &stopping{cluster: &cluster{start: start, says: removed(nil)}, after: 5065 * time.Millisecond, stop: 5 * time.Second}
		kernel := &sockets{start: start, asked: start, takes: 10 * time.Millisecond, loads: []load{clients(6000, 8000, 10)}}
		if o := defaults().Run(t.Context(), control, kernel); o.Reason != wait.Quiet || o.Held != 13_010*time.Millisecond {
			t.Errorf("ended with %v after %v", o.Reason, o.Held)
		}
	})
}

// stopping stops the process once, for so long after so long.
type stopping struct {
	*cluster
	after, stop time.Duration
}

func (s *stopping) View() (wait.View, <-chan struct{}) {
	if since := time.Since(s.start); s.silence[1] == 0 && since > s.after {
		s.silence = [2]ms{ms(since.Milliseconds()), ms((since + s.stop).Milliseconds()) + 100}
		time.Sleep(s.stop)
	}
	return s.cluster.View()
}
