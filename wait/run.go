package wait

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// run is one wait on its way.
type run struct {
	policy  Policy
	cluster Cluster
	sockets Sockets
	start   time.Time

	view    View
	ports   []uint16 // that are watched
	changed <-chan struct{}

	rotation rotation
	window   window
	looked   time.Time // when the last finished look began
	lostAt   time.Time // when the sockets were lost from sight, if they were
	peeked   time.Time // when they were last asked whether a connection has ended
	expected time.Time // when the hook was to run again
	woken    time.Time // when it last ran again after it had slept or was stopped
	looking  bool      // a look is under way, which takes as long as it takes
	hung     bool      // a look was left behind, and no other may be made beside it
	budget   time.Duration

	missing  []string
	told     string // of the budget
	toldOpen int
	shown    Progress
}

func newRun(p Policy, cluster Cluster, sockets Sockets) *run {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	began := time.Now()
	r := &run{policy: p, cluster: cluster, sockets: sockets, start: p.Start, expected: began, window: newWindow(p)}
	if r.start.IsZero() {
		r.start = began
	}
	r.ports = p.Watched(r.view)
	r.rotation = newRotation(p.Handover, began)
	if cluster == nil {
		r.rotation.leave(began)
		if p.InPod {
			r.miss("the EndpointSlices are not asked: going by the sockets alone, for at least "+secs(p.SocketsAlone()), nil)
		}
	}
	if sockets == nil {
		r.lostAt = began
		r.miss("the sockets cannot be seen: sleeping for "+secs(p.SleepInstead())+" instead", nil)
	}
	r.fund()
	return r
}

// observe takes in what the control plane says now.
func (r *run) observe() {
	if r.cluster == nil {
		return
	}
	contact := r.view.Contact
	r.view, r.changed = r.cluster.View()
	now := r.noticeStop(contact)
	r.view = r.policy.Narrow(r.view)
	r.ports = r.policy.Watched(r.view)
	changes := r.rotation.see(r.view, now)
	r.fund()
	if r.view.SlicesKnown && !r.view.PodKnown && r.view.Refused {
		r.miss("the pod cannot be read: taking "+secs(DefaultGrace)+" for its grace period, and probes for clients unless their rhythm tells", r.view.Err)
	}
	for _, c := range changes {
		r.tellChange(c)
	}
}

// noticeStop finds out whether the process has been stopped since it last ran, and returns the time:
// the control plane's silence meanwhile was the hook's own. A look may also take that long by
// itself, so it counts only where the control plane is about to be given up.
func (r *run) noticeStop(contact time.Time) (now time.Time) {
	now = time.Now()
	switch late := now.Sub(r.expected) > stopped; {
	case late && !r.looking:
		r.rotation.grant(now, contact)
		r.woken = now
	case late && !now.Add(answerTime).Before(r.rotation.silentAt(r.view)):
		r.rotation.grant(now, contact)
	}
	r.expected = now
	return now
}

// look asks the sockets, and returns early if the budget or the context ends.
func (r *run) look(ctx context.Context) {
	type answer struct {
		findings *findings
		err      error
		at       time.Time
	}
	began := time.Now()
	if r.policy.watchesNothing(r.view) {
		r.looked = began
		r.miss("the pod has the node's network, and neither Services nor its containers name a TCP port of it: sleeping for "+
			secs(r.policy.SleepInstead())+" instead of watching the node's: set --port", nil)
		return
	}
	done := make(chan answer, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ports, sockets := slices.Clone(r.ports), r.sockets
	// During a look only absorb changes the window (and own, which is atomic), so gather may read it
	// meanwhile. An answer that comes after the budget's end is dropped.
	go func() {
		f, err := r.window.gather(ctx, sockets, ports)
		done <- answer{f, err, time.Now()}
	}()
	r.looking, r.expected = true, began
	defer func() {
		r.noticeStop(r.view.Contact)
		r.looking = false
	}()
	for time.Now().Before(r.deadline()) {
		timer := time.NewTimer(time.Until(r.deadline()))
		select {
		case a := <-done:
			timer.Stop()
			if now := time.Now(); now.Sub(a.at) > stopped {
				r.woken = now
			}
			if a.err == nil {
				r.looked = began
				r.absorb(a.findings)
			} else if ctx.Err() == nil {
				r.sockets, r.lostAt = nil, time.Now()
				r.miss("the sockets can no longer be seen: sleeping for "+secs(r.policy.SleepInstead())+" instead", a.err)
			}
			return
		case <-r.changed: // nil, and so never ready, without a cluster
			r.observe()
		case <-timer.C:
			r.observe() // there may be more time
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
	r.hung = true
}

// absorb takes in what a look has found, and tells it.
func (r *run) absorb(f *findings) {
	r.window.probes.learn(r.view)
	before := r.window.last()
	r.window.absorb(f, r.rotation.left)
	last := r.window.last()
	if last.At.After(before.At) && last.At.After(r.rotation.left) {
		r.tellArrival(last)
	}
	r.tellOpen()
	r.debugLook(f)
}

// sleep waits until the time, or until the control plane says something new.
func (r *run) sleep(ctx context.Context, until time.Time) {
	r.progress()
	r.expected = until
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.changed:
	case d := <-r.window.draining.done:
		r.endDrain(d)
	case <-ctx.Done():
	}
	r.woken = time.Now()
}

// stopped is how much later than asked a process wakes up that did not run for a while: SIGSTOP, a
// frozen cgroup, a paused machine.
const stopped = 100 * time.Millisecond

func (r *run) progress() {
	due, _ := r.due()
	p := Progress{Stage: r.stage(time.Now()), Due: due, Deadline: r.deadline()}
	if p.Stage == Closing {
		p.Open, p.Due = r.window.open, time.Time{}
	}
	if r.policy.Progress != nil && p != r.shown {
		r.shown = p
		r.policy.Progress(p)
	}
}
