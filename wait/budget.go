package wait

import (
	"slices"
	"time"
)

// deadline is the end of the budget. The kubelet reckons the grace period from its own start of the
// kill, which is when it starts the hook, so that neither the API server's clock nor the deletion
// timestamp matters (pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer).
func (r *run) deadline() time.Time { return r.start.Add(r.budget) }

// fund works the budget out anew: a second deletion may shorten the grace period while the hook
// runs.
func (r *run) fund() {
	before := r.budget
	r.budget = r.policy.Budget(r.view, r.sight())
	if r.cluster != nil && !r.view.PodKnown && !r.view.Refused && r.policy.Timeout == 0 {
		// A process may be old when it becomes the hook, and the pod have more time than most.
		r.budget = max(r.budget, r.rotation.began.Add(answerTime).Sub(r.start))
	}
	if r.policy.Deadline != nil && r.budget != before {
		r.policy.Deadline(r.deadline())
	}
	r.rotation.mustKnow = r.deadline().Add(-r.policy.Quiet - removal) // then a window still fits
	if r.view.PodKnown || r.rotation.apiSilent {
		r.tellBudget()
	}
}

// budgetReason is why the hook ends with its budget. That it could not be told in time whether what
// follows the probes is theirs is no failure: clients were quiet. Nor is a sleep that did not fit in
// where no port is known that could be called.
func (r *run) budgetReason(closing bool) Reason {
	due, open := r.dueAfter(r.window.clientsHold())
	quiet := open && r.sockets != nil && !r.hung && !due.After(r.looked)
	switch {
	case closing, quiet && r.tooManyOpen():
		return StillOpen
	case quiet:
		return r.quietOrAlone(due)
	case r.rotation.stage == Lull && r.sockets != nil && r.policy.watchesNothing(r.view):
		return Slept
	}
	return Budget
}

// Sight is what a hook can see of a pod. It takes longer for what it cannot see.
type Sight struct {
	// Rotation: slices that are kept up to date tell when the pod leaves rotation, if it has one.
	Rotation bool
	// Sockets: what arrives at the pod's ports.
	Sockets bool
}

// Sight is what a hook sees to which the control plane tells the view, with the sockets or without.
func (p Policy) Sight(v View, sockets bool) Sight {
	unmanaged := slices.ContainsFunc(v.Services, func(s Service) bool { return s.Unmanaged })
	return Sight{Rotation: (v.SlicesKnown || !p.InPod) && !unmanaged, Sockets: sockets && !p.watchesNothing(v)}
}

// sight is what this hook sees.
func (r *run) sight() Sight { return Sight{Rotation: !r.needsMore(), Sockets: !r.sleeps()} }

// Budget is how long the hook may take at most, by what is known of the pod.
func (p Policy) Budget(v View, see Sight) time.Duration {
	grace, reserve := p.shares(v, see)
	budget := max(0, grace-reserve)
	if p.Timeout > 0 && (p.Timeout < budget || !v.PodKnown) {
		return p.Timeout
	}
	return budget
}

// isRestart reports whether a container may be about to be restarted.
func (v View) isRestart() bool { return v.undeleted() && v.Ended == "" && v.RestartGrace > 0 }

// removal is how long the control plane takes to take a pod out of rotation, at most as a rule.
const removal = time.Second

// slowAnswer is how long an app takes to answer Drain, at most as a rule.
const slowAnswer = 2 * time.Second

// Least is how long a hook takes at least.
func (p Policy) Least(see Sight) time.Duration {
	least := p.Quiet
	if !see.Sockets {
		least = p.SleepInstead()
	}
	if p.Drain != nil {
		least += slowAnswer // the window begins with the answer
	}
	if !see.Rotation {
		least = max(least, p.SocketsAlone())
	}
	return max(least, p.Min)
}

// Fits reports whether the least that the hook takes fits into the budget, in a pod after its
// removal from rotation.
func (p Policy) Fits(v View, see Sight) bool {
	least, budget := p.Least(see), p.Budget(v, see)
	if p.InPod {
		least += removal
	}
	return least < budget || p.InPod && least == budget
}

// shares are the grace period in force and the app's part of it: Reserve, at most half, and less
// where the least that the hook takes would not fit, but never less than a fifth, and a second.
func (p Policy) shares(v View, see Sight) (grace, reserve time.Duration) {
	grace = DefaultGrace
	if v.PodKnown {
		grace = v.Grace
	}
	if v.isRestart() {
		// Of whichever container has the shortest.
		grace = min(grace, v.RestartGrace)
	}
	reserve = min(p.Reserve, grace/2)
	spare := grace - p.Least(see) - removal
	return grace, min(reserve, max(spare, grace/5, time.Second))
}
