package wait

import "time"

// deadline is the end of the budget. The kubelet reckons the grace period from
// its own start of the kill, which is when it starts the hook, so that neither
// the API server's clock nor the deletion timestamp matters
// (pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer).
func (r *run) deadline() time.Time { return r.start.Add(r.budget) }

// fund works the budget out anew: a second deletion may shorten the grace
// period while the hook runs.
func (r *run) fund() {
	r.budget = r.Policy.Budget(r.view)
	if r.view.PodKnown || r.blind {
		r.tellBudget()
	}
}

// Budget is how long the hook may take at most, by what is known of the pod.
func (p Policy) Budget(v View) time.Duration {
	grace, reserve := p.shares(v)
	budget := max(0, grace-reserve)
	if p.Timeout > 0 && (p.Timeout < budget || !v.PodKnown) {
		return p.Timeout
	}
	return budget
}

// Least is how long a hook takes at least. blind: without sight of a rotation
// that there is to leave.
func (p Policy) Least(blind bool) time.Duration {
	least := p.Quiet
	if blind {
		least *= 2
	}
	return max(least, p.Min)
}

// funds are what the story has told of the budget.
type funds struct{ budget, grace, least time.Duration }

// shares are the grace period in force and the app's part of it.
func (p Policy) shares(v View) (grace, reserve time.Duration) {
	grace = DefaultGrace
	if v.PodKnown {
		grace = v.Grace
	}
	return grace, min(p.Reserve, grace/2)
}
