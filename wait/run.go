package wait

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// lastLook is how long before the budget's end one more look is made, so that
// the story can say who still calls.
const lastLook = 300 * time.Millisecond

// stamps is when looks learn which connections are open, after the pod left
// rotation: a connection's age is known no better than from the look that first
// saw it. kube-proxy follows in one to two seconds, and with it whoever connects
// through it. The first one also tells the sockets which ports are watched.
var stamps = []time.Duration{0, time.Second, 2 * time.Second}

// run is one wait on its way.
type run struct {
	Policy
	cluster Cluster
	sockets Sockets
	start   time.Time
	began   time.Time // when Run was called: what came before that nobody has seen

	view    View
	changed <-chan struct{}

	rotation
	window  window
	looked  time.Time // when the last finished look began
	lostAt  time.Time // when the sockets were lost from sight, if they were
	budget  time.Duration
	missing []string
	told    funds
	shown   Progress
}

func newRun(p Policy, cluster Cluster, sockets Sockets) *run {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	r := &run{Policy: p, cluster: cluster, sockets: sockets, start: p.Start, began: time.Now()}
	if r.start.IsZero() {
		r.start = r.began
	}
	r.view.Ports = p.Ports
	r.window = newWindow(p)
	if cluster == nil {
		r.left, r.handed, r.blind = r.began, r.began, true
		if p.InPod {
			r.miss("the EndpointSlices are not asked: going by the sockets alone, for at least "+secs(2*p.Quiet), nil)
		}
	}
	if sockets == nil {
		r.lostAt = r.began
		r.miss("the sockets can't be seen: sleeping for "+secs(r.blindSleep())+" instead", nil)
	}
	r.fund()
	return r
}

// observe takes in what the control plane says now.
func (r *run) observe() {
	if r.cluster == nil {
		return
	}
	r.view, r.changed = r.cluster.View()
	if !r.view.SlicesKnown {
		r.view.Ports = r.Ports
	}
	r.fund()
	r.window.probes.learn(r.view)
	if r.view.SlicesKnown && !r.view.PodKnown && r.view.Refused {
		r.miss("the pod can't be read: taking "+secs(DefaultGrace)+" for its grace period, and probes for clients unless their rhythm tells", r.view.Err)
	}
	r.rotate(time.Now())
}

// due is when the hook may end if nothing arrives until then; false while that
// is not for the sockets to say.
func (r *run) due() (time.Time, bool) {
	if r.left.IsZero() || r.handed.IsZero() {
		return time.Time{}, false
	}
	since := latest(r.left, r.handed)
	due := latest(since.Add(r.Quiet), r.left.Add(r.Min))
	if r.sockets == nil {
		due = latest(due, latest(since, r.lostAt).Add(r.blindSleep()))
	}
	if r.unsighted() {
		due = latest(due, r.start.Add(2*r.Quiet))
	}
	return latest(due, r.window.hold()), true
}

// unsighted says whether there is a rotation to leave that can't be seen.
func (r *run) unsighted() bool { return r.blind && (r.cluster != nil || r.InPod) }

func (r *run) blindSleep() time.Duration { return max(blindSleep, r.Quiet) }

// lookDue says whether to look although nothing depends on it.
func (r *run) lookDue(now time.Time) bool {
	stamp, ok := r.stamp()
	return ok && !now.Before(stamp)
}

// stamp is when to do so next: by stamps, and before the budget ends.
func (r *run) stamp() (time.Time, bool) {
	if r.sockets == nil || r.left.IsZero() {
		return time.Time{}, false
	}
	for _, after := range stamps {
		if t := r.left.Add(after); r.looked.Before(t) {
			return t, true
		}
		if r.cluster == nil && !r.InPod {
			break // nobody is told to go elsewhere
		}
	}
	last := latest(r.deadline().Add(-lastLook), r.left)
	return last, r.looked.Before(last)
}

// lookedBefore says whether the window's end has not been looked at yet.
func (r *run) lookedBefore(due time.Time) bool {
	return r.sockets != nil && r.looked.Before(due)
}

// look asks the sockets, and returns early if the budget or the context ends.
func (r *run) look(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		batch *batch
		err   error
	}
	began := time.Now()
	done := make(chan answer, 1)
	ports, sockets := slices.Clone(r.view.Ports), r.sockets
	// Nothing else touches the window until the answer is here; an answer that
	// comes too late is nobody's.
	go func() {
		b, err := r.window.gather(ctx, sockets, ports)
		done <- answer{b, err}
	}()
	for time.Now().Before(r.deadline()) {
		timer := time.NewTimer(time.Until(r.deadline()))
		select {
		case a := <-done:
			timer.Stop()
			if a.err == nil {
				r.looked = began
				r.absorb(a.batch)
			} else if ctx.Err() == nil {
				r.sockets, r.lostAt = nil, time.Now()
				r.miss("the sockets are lost from sight: sleeping for "+secs(r.blindSleep())+" instead", a.err)
			}
			return
		case <-r.changed: // nil, and so never ready, without a cluster
			r.observe()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// absorb takes in what a look has found, and tells it.
func (r *run) absorb(b *batch) {
	before := r.window.last()
	r.window.absorb(b, r.left)
	last := r.window.last()
	if last.At.After(before.At) && last.At.After(r.left) {
		r.tellArrival(last)
	}
}

// sleep waits until something could change the decision.
func (r *run) sleep(ctx context.Context, now time.Time) {
	until := r.deadline()
	earlier := func(t time.Time, ok bool) {
		if ok && t.After(now) && t.Before(until) {
			until = t
		}
	}
	due, open := r.due()
	earlier(due, open)
	earlier(r.stamp())
	earlier(r.stoodAt(now))
	earlier(r.blindAt(), r.cluster != nil)
	r.progress(due)
	timer := time.NewTimer(until.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.changed:
	case <-ctx.Done():
	}
}

func (r *run) progress(due time.Time) {
	p := Progress{Stage: r.stage(), Due: due, Deadline: r.deadline()}
	if r.Progress != nil && p != r.shown {
		r.shown = p
		r.Progress(p)
	}
}

func latest(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}
