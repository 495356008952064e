package main

import (
	"fmt"
	"strings"
	"time"

	"lull/wait"
)

// forecast is what the hook will see and go by once the pod is deleted. Package wait works it out,
// for the hook, too.
type forecast struct {
	view   wait.View
	policy wait.Policy
	see    wait.Sight
}

func (k *podCheck) forecast() forecast {
	f := forecast{view: k.view, policy: k.flags.policy()}
	f.view.Deleting = true
	f.policy.InPod = k.inCluster()
	f.see = f.policy.Sight(f.view, !k.withoutSockets)
	f.see.Rotation = f.see.Rotation || k.unanswered // the hook may be answered
	return f
}

func (f forecast) budget() time.Duration { return f.policy.Budget(f.view, f.see) }
func (f forecast) least() time.Duration  { return f.policy.Least(f.see) }
func (f forecast) fits() bool            { return f.policy.Fits(f.view, f.see) }

// watchesNothing reports whether no port of the pod's is known, and its sockets are not to be told
// from the node's.
func (f forecast) watchesNothing() bool { return !f.policy.Sight(f.view, true).Sockets }

// until is what the hook waits for.
func (f forecast) until() string {
	p := f.policy
	all := []string{"the pod is out of rotation"}
	if p.Drain != nil {
		all = append(all, "the app was asked to let its clients go")
	}
	if !f.see.Sockets {
		all = append(all, fmt.Sprintf("%s have passed, in which nothing is looked at", p.SleepInstead()))
	} else {
		all = append(all, fmt.Sprintf("nothing has arrived for %s", p.Quiet))
	}
	if !f.see.Rotation {
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
