package wait

import "time"

// action is what a hook does next.
type action int

const (
	decide action = iota // sleep, and ask what to do next
	look                 // ask the sockets
	peek                 // ask them if that is worth it
	drain                // ask the app to let its clients go
	end                  // let SIGTERM through
)

// step is something to do at a time, which may have passed already.
type step struct {
	at  time.Time
	do  action
	why Reason // of end
}

// lastLook is how long before the budget's end one more look is made, so that the story can say who
// still calls.
const lastLook = 300 * time.Millisecond

// earlyLooks are extra looks, counted from when the pod left rotation: a connection's age counts
// from the look that first saw it, and new ones keep coming until kube-proxy has caught up, in one
// to two seconds. The first look also tells the sockets which ports are watched.
var earlyLooks = []time.Duration{0, time.Second, 2 * time.Second}

// next returns what to do: look or end if that is due, else decide, at the time when the next of
// these is due or the answer may be another. The steps that could be taken stand here once, the
// most important first. When due is first known it may lie in the past, so the hook never ends
// without a look since it slept.
func (r *run) next(now time.Time) step {
	steps := make([]step, 0, 8)
	plan := func(s step, planned bool) {
		if planned {
			steps = append(steps, s)
		}
	}
	due, open := r.due()
	closing := r.closing(now)
	plan(step{at: r.deadline(), do: end, why: r.budgetReason(closing)}, true)
	plan(step{at: now, do: end, why: Budget}, r.hung)
	plan(r.rotation.restart(r.view, now))
	plan(r.rotation.long())
	plan(r.rotation.givesUp(r.view, now))
	plan(r.extraLook())
	plan(step{at: now, do: drain}, r.mayDrain())
	plan(step{at: due, do: look}, open && r.sockets != nil && r.looked.Before(due))
	plan(step{at: due, do: look}, open && r.sockets != nil && !closing && r.looked.Before(r.woken))
	plan(r.settlingLook(due, open))
	plan(step{at: latest(due, r.looked.Add(r.policy.Quiet)), do: look}, closing)
	plan(step{at: latest(due, r.peeked.Add(peekEvery)), do: peek}, closing)
	plan(step{at: due, do: end, why: r.quietOrAlone(due)}, open && !closing)
	plan(step{at: r.rotation.silentAt(r.view), do: decide}, r.cluster != nil && r.rotation.needsAPI())

	first := steps[0]
	for _, s := range steps {
		if !s.at.After(now) {
			return s
		}
		if s.at.Before(first.at) {
			first = s
		}
	}
	return step{at: first.at, do: decide}
}

// due is when the hook may end if nothing arrives until then; false while that is not for the
// sockets to say.
func (r *run) due() (time.Time, bool) { return r.dueAfter(r.window.hold()) }

// dueAfter is due if what has arrived holds until then.
func (r *run) dueAfter(hold time.Time) (time.Time, bool) {
	if r.rotation.stage != Lull {
		return time.Time{}, false
	}
	since := latest(r.rotation.since(), r.window.draining.drained)
	due := latest(since.Add(r.policy.Quiet), r.rotation.left.Add(r.policy.Min))
	if r.sleeps() {
		due = latest(due, latest(since, r.lostAt).Add(r.policy.SleepInstead()))
	}
	due = latest(due, r.window.draining.answers())
	if r.needsMore() {
		due = latest(due, r.rotation.began.Add(r.policy.SocketsAlone()))
	}
	if len(r.rotation.alone) > 0 {
		return due, true // whatever arrives: that will not end
	}
	return latest(due, hold), true
}

// sleeps reports whether the hook sleeps instead of looking, since it can see no socket of the
// pod's.
func (r *run) sleeps() bool { return r.sockets == nil || r.policy.watchesNothing(r.view) }

// quietOrAlone is why the hook ends when it is due.
func (r *run) quietOrAlone(due time.Time) Reason {
	if len(r.rotation.alone) > 0 && r.window.hold().After(due) {
		return Alone
	}
	return Quiet
}

// withoutSlices reports whether there is a rotation to leave that cannot be seen.
func (r *run) withoutSlices() bool {
	return r.rotation.apiSilent && (r.cluster != nil || r.policy.InPod)
}

// needsMore reports whether the hook takes SocketsAlone at least: the rotation cannot be seen, or
// some of it only in slices that nobody promises to keep up to date.
func (r *run) needsMore() bool { return r.withoutSlices() || len(r.rotation.unmanaged) > 0 }

// extraLook is the next look on which no decision hangs: one of earlyLooks, then the one before the
// budget ends.
func (r *run) extraLook() (step, bool) {
	left := r.rotation.left
	if r.sockets == nil || left.IsZero() {
		return step{}, false
	}
	for _, after := range earlyLooks {
		if t := left.Add(after); r.looked.Before(t) {
			return step{at: t, do: look}, true
		}
		if r.cluster == nil && !r.policy.InPod {
			break // nobody is told to go elsewhere
		}
	}
	last := latest(r.deadline().Add(-lastLook), left)
	return step{at: last, do: look}, r.looked.Before(last)
}

// settlingLook is the look that settles whether what holds the exit is a probe's, if that comes
// before the window is over.
func (r *run) settlingLook(due time.Time, open bool) (step, bool) {
	at, ok := r.window.probes.schedule.settlesAt()
	return step{at: at, do: look}, ok && open && r.sockets != nil && at.Before(due) && r.looked.Before(at)
}

func latest(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}
