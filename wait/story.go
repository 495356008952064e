package wait

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// The story has one line an event. Each is a sentence that needs no attribute to
// be understood; the attributes repeat its figures for machines, times in
// seconds since the start with the unit in the name.

// secs prints a duration as people say it: 5s, 0.1s, 12.3s.
func secs(d time.Duration) string {
	return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
}

func (r *run) after(t time.Time) string { return secs(t.Sub(r.start)) }

// seconds is the time since the start to the millisecond.
func (r *run) seconds(t time.Time) float64 {
	return t.Sub(r.start).Round(time.Millisecond).Seconds()
}

// miss tells what can't be seen and what happens instead, once.
func (r *run) miss(instead string, err error) {
	line := instead
	if err != nil {
		line += ": " + err.Error()
	}
	if slices.Contains(r.missing, line) {
		return
	}
	r.missing = append(r.missing, line)
	r.Log.Warn(line, "event", "missing")
}

func (r *run) tellBudget() {
	grace, reserve := r.shares(r.view)
	least := r.Least(r.unsighted())
	now := funds{r.budget, grace, least}
	if now == r.told {
		return
	}
	r.told = now
	line, cure := "budget "+secs(r.budget), "raise terminationGracePeriodSeconds"
	switch {
	case r.Timeout > 0 && r.budget == r.Timeout:
		line, cure = line+" as asked", "raise --timeout"
	case !r.view.PodKnown:
		line += fmt.Sprintf(": the grace period is unknown, taking %s less %s for the app", secs(grace), secs(reserve))
		cure = "set --timeout to what there is"
	default:
		line += fmt.Sprintf(": grace period %s less %s for the app", secs(grace), secs(reserve))
	}
	log := r.Log.Info
	switch {
	case r.Timeout > r.budget:
		line += fmt.Sprintf("; the timeout of %s does not fit in: %s or lower --reserve", secs(r.Timeout), cure)
		log = r.Log.Warn
	case least > r.budget:
		line += fmt.Sprintf("; at least %s of waiting do not fit in: %s", secs(least), cure)
		log = r.Log.Warn
	}
	log(line, "event", "budget", "budget_s", r.budget.Seconds(), "grace_s", grace.Seconds(), "reserve_s", reserve.Seconds())
}

func (r *run) tellLeft() {
	all := r.services(func(Service) bool { return true })
	if ready := r.services(func(s Service) bool { return s.AlwaysReady || s.InRotation }); len(ready) > 0 {
		r.Log.Info(plural("Service", ready)+": addresses are published ready or not, so their slices won't show the removal: not waiting for it",
			"event", "always-ready", "services", ready)
	}
	line := "out of rotation after " + r.after(r.left)
	switch {
	case len(all) == 0:
		line = "in no Service's EndpointSlices: no rotation to leave"
	default:
		line += " (" + plural("Service", all) + ")"
	}
	if r.undeleted() {
		line += ", though not being deleted"
		if why := cmp.Or(r.view.Ended, r.view.Disrupted); why != "" {
			line += " (" + why + ")"
		}
	}
	r.Log.Info(line, "event", "left", "after_s", r.seconds(r.left), "services", all)
}

func (r *run) tellArrival(a Arrival) {
	ago := max(0, time.Since(a.At))
	r.Log.Info("last arrival "+secs(ago)+" ago: "+a.String(), "event", "arrival",
		"kind", a.Kind.String(), "at_s", r.seconds(a.At), "port", a.Port, "peer", peerText(a.Peer.Addr()))
}

// end closes the story and the account.
func (r *run) end(why Reason) Outcome {
	now := time.Now()
	if why == Quiet && r.sockets == nil {
		why = Slept
	}
	o := Outcome{
		Reason: why, Stage: r.stage(), Held: now.Sub(r.start), Budget: r.budget,
		Left: r.sinceStart(r.left), Handed: r.sinceStart(r.handed),
		Missing: r.missing,
	}
	// A look that was left behind may still be reading the window, so it is
	// only read here, too.
	o.Last, o.Pinned, o.Ignored = r.window.last(), r.window.pinned, r.ignored()
	for _, g := range o.Ignored {
		r.Log.Info(fmt.Sprintf("not counted: %d from %s, %s", g.Count, peerText(g.From), g.Why), "event", "ignored", "count", g.Count, "from", peerText(g.From), "why", g.Why)
	}
	log := r.Log.Info
	if why == Budget {
		log = r.Log.Warn
	}
	log(r.lastWords(o), "event", "end", "reason", why.String(), "stage", o.Stage.String(), "held_s", r.seconds(now), "budget_s", o.Budget.Seconds())
	return o
}

func (r *run) sinceStart(t time.Time) time.Duration {
	if t.IsZero() {
		return -1
	}
	return t.Sub(r.start)
}

// lastWords is the story's last line.
func (r *run) lastWords(o Outcome) string {
	through := fmt.Sprintf("letting SIGTERM through after %s of %s", secs(o.Held), secs(o.Budget))
	switch o.Reason {
	case Quiet:
		quiet := time.Since(latest(r.left, r.handed, o.Last.At))
		line := "quiet for " + secs(quiet)
		switch {
		case o.Pinned > 0:
			line = fmt.Sprintf("no new connection, and %d in use for more than %s since that only the app can end", o.Pinned, secs(r.KeepaliveWait))
		case quiet < r.Quiet:
			line = "no new connection, and those in use for more than " + secs(r.KeepaliveWait) + " only the app can end"
		}
		return line + ", " + through
	case Slept:
		return "slept blindly, " + through
	case Restart:
		line := "the pod is not being deleted and stays in rotation: its container is being restarted"
		if r.view.Disrupted != "" {
			line = "the pod stays in rotation while it is evicted (" + r.view.Disrupted + ")"
		}
		return line + ", nothing to wait for"
	case Interrupted:
		return "interrupted after " + secs(o.Held)
	}
	line := fmt.Sprintf("the budget of %s ran out while waiting for the %s", secs(o.Budget), map[Stage]string{
		Removal: "pod to leave rotation", Handover: "replacement to become ready", Lull: "lull",
	}[o.Stage])
	if o.Stage == Lull && !o.Last.At.IsZero() {
		line += fmt.Sprintf(": last seen %s ago, %s", secs(time.Since(o.Last.At)), o.Last)
	}
	if o.Stage != Lull && r.view.Err != nil {
		line += ": " + r.view.Err.Error()
	}
	return line + "; letting SIGTERM through"
}

// ignored lists what didn't count, most first.
func (r *run) ignored() []Ignored {
	var all []Ignored
	add := func(why string, by map[netip.Addr]int) {
		for _, from := range slices.SortedFunc(maps.Keys(by), netip.Addr.Compare) {
			all = append(all, Ignored{Why: why, From: from, Count: by[from]})
		}
	}
	add("readiness probes", r.window.probes.excused)
	add("named by --ignore", r.window.ignored)
	slices.SortStableFunc(all, func(a, b Ignored) int { return b.Count - a.Count })
	if len(all) > maxTold {
		rest := Ignored{Why: "and others"}
		for _, g := range all[maxTold:] {
			rest.Count += g.Count
		}
		all = append(all[:maxTold:maxTold], rest)
	}
	return all
}

// maxTold bounds how many addresses the story names as ignored.
const maxTold = 8

func peerText(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown"
	}
	return a.String()
}
