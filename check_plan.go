package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lull/wait"
)

// forecast is what the hook will see and go by once the pod is deleted.
type forecast struct {
	view   wait.View
	policy wait.Policy
	// needsMore: it takes as long as by the sockets alone, at least.
	needsMore bool
	// watchesNothing: no port of the pod's is known, and its sockets are not to be told from the
	// node's.
	watchesNothing bool
	// sleeps: it sees no socket of the pod's, and sleeps instead.
	sleeps bool
}

// forecast asks package wait what the hook will go by. No other place does, so that there is one
// rule for both.
func (k *podCheck) forecast() forecast {
	f := forecast{view: k.view, policy: k.flags.policy()}
	f.view.Deleting = true
	f.policy.InPod = k.inCluster()
	unmanaged := func(s wait.Service) bool { return s.InRotation && s.Unmanaged }
	f.needsMore = f.policy.InPod && !k.unanswered && (!f.view.SlicesKnown || slices.ContainsFunc(f.view.Services, unmanaged))
	f.watchesNothing = len(f.policy.Ports) == 0 && f.view.HostNetwork && f.view.PodKnown && f.view.SlicesKnown && len(f.policy.Watched(f.view)) == 0
	f.sleeps = k.withoutSockets || f.watchesNothing
	return f
}

// budget is how long the hook may take.
func (f forecast) budget() time.Duration { return f.policy.Budget(f.view, f.needsMore) }

// least is how long it takes at least.
func (f forecast) least() time.Duration {
	least := f.policy.Least(f.needsMore)
	if f.sleeps {
		least = max(least, f.policy.SleepInstead())
	}
	return least
}

// fits reports whether the least that it takes fits into the budget.
func (f forecast) fits() bool {
	return f.policy.Fits(f.view, f.needsMore) && (!f.sleeps || f.policy.SleepInstead() < f.budget())
}

// until is what the hook waits for.
func (f forecast) until() string {
	p := f.policy
	all := []string{"the pod is out of rotation"}
	if p.Drain != nil {
		all = append(all, "the app was asked to let its clients go")
	}
	if f.sleeps {
		all = append(all, fmt.Sprintf("%s have passed, in which nothing is looked at", p.SleepInstead()))
	} else {
		all = append(all, fmt.Sprintf("nothing has arrived for %s", p.Quiet))
	}
	if f.needsMore {
		all = append(all, fmt.Sprintf("%s have passed in all", p.SocketsAlone()))
	}
	if p.Min > 0 {
		all = append(all, fmt.Sprintf("%s have passed since it left", p.Min))
	}
	if p.MaxOpen != nil {
		all = append(all, fmt.Sprintf("the open connections are at most %d", *p.MaxOpen))
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " and " + all[last]
}

// plan reports what the hook would do.
func (k *podCheck) plan() {
	grace := "unknown, taken for " + wait.DefaultGrace.String()
	if k.view.PodKnown {
		grace = k.view.Grace.String()
	}
	switch {
	case k.view.PodKnown && !k.view.Deleting && k.local:
		k.report.say("now", "the pod is not being deleted: a hook that ran now, as for a restart of its container, would exit after half a second while the pod is in rotation")
	case k.view.Deleting && k.view.PodKnown:
		k.report.say("now", "the pod is being deleted")
	}
	f := k.forecast()
	k.report.say("budget", "%s (grace period %s)", f.budget(), grace)
	then := ""
	if len(k.flags.command) > 0 {
		then = ", and then run " + k.flags.command[0]
	}
	if !f.fits() {
		k.report.lack("time", "time: at least %s of waiting do not fit into the budget of %s: raise terminationGracePeriodSeconds", f.least(), f.budget())
		k.report.say("plan", "hold SIGTERM for %s, which is too short for the %s that it takes at least%s", f.budget(), f.least(), then)
		return
	}
	k.report.say("plan", "hold SIGTERM until %s, for %s at most%s", f.until(), f.budget(), then)
}
