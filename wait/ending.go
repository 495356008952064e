package wait

import (
	"cmp"
	"fmt"
	"net/netip"
	"sort"
	"time"
)

// end closes the story and the account.
func (r *run) end(why Reason) Outcome {
	now := time.Now()
	if why == Quiet && r.sleeps() {
		why = Slept
	}
	o := Outcome{
		Reason: why, Stage: r.stage(now), Held: now.Sub(r.start), Budget: r.budget,
		Left: r.sinceStart(r.rotation.left), Handed: r.sinceStart(r.rotation.handed),
		Missing: r.missing,
	}
	// A look that was left behind may still be reading the window. It does not read callers, which
	// the last words shorten.
	o.Last, o.Ignored = r.window.last(), r.ignored()
	o.Pinned, _ = r.inUse(now)
	o.Open = r.window.open
	for _, g := range o.Ignored {
		r.policy.Log.Info(fmt.Sprintf("not counted: %d from %s, %s", g.Count, peerText(g.From), g.Why), "event", "ignored", "count", g.Count, "from", peerText(g.From), "why", g.Why)
	}
	for _, a := range r.window.stuck {
		r.policy.Log.Warn(fmt.Sprintf("the app has accepted nothing on :%d for %s, and %d wait in the accept queue: not waiting for them", a.Port, secs(a.At.Sub(a.Since)), a.Count),
			"event", "stuck", "port", a.Port, "waiting", a.Count, "since_s", r.seconds(a.Since))
	}
	log := r.policy.Log.Info
	if why == Budget || o.Pinned > 0 && why == Quiet {
		log = r.policy.Log.Warn
	}
	attrs := []any{"event", "end", "reason", why.String(), "stage", o.Stage.String(), "held_s", r.seconds(now), "budget_s", o.Budget.Seconds(),
		"pinned", o.Pinned, "services", append([]string{}, r.holding(o.Stage)...)}
	if r.window.countsOpen {
		attrs = append(attrs, "open", o.Open)
	}
	log(r.lastWords(o, now), attrs...)
	return o
}

// inUse counts the pinned connections on which something came within the last window, in all and by
// address.
func (r *run) inUse(now time.Time) (int, map[netip.Addr]int) {
	return r.window.inUse.since(now.Add(-r.policy.Quiet))
}

// holding names the Services that a stage waits for.
func (r *run) holding(s Stage) []string {
	switch s {
	case Removal:
		return r.view.services(inRotation)
	case Handover:
		return r.rotation.awaits(r.view)
	}
	return nil
}

func (r *run) sinceStart(t time.Time) time.Duration {
	if t.IsZero() {
		return -1
	}
	return t.Sub(r.start)
}

// lastWords is the story's last line.
func (r *run) lastWords(o Outcome, now time.Time) string {
	through := fmt.Sprintf("letting SIGTERM through after %s of %s", secs(o.Held), secs(o.Budget))
	switch o.Reason {
	case Quiet:
		return r.quietWords(o, now) + ", " + through
	case Alone:
		list, _ := r.window.callers.lately(now, r.window.probes.isProber)
		return "nobody can take over before this pod has ended, and traffic goes on (" + list + "), " + through
	case StillOpen:
		return fmt.Sprintf("%s, but %s to the end of the budget, %s", r.reached(), count(o.Open, "connection was open", "connections were open"), through)
	case Slept:
		return "slept without sight of the sockets, " + through
	case Restart:
		why := "the kubelet restarts its container, or ends the pod by itself (eviction, node shutdown)"
		if !r.view.Restartable {
			why = "the kubelet ends it by itself (eviction, node shutdown), since it has no liveness or startup probe"
		}
		return "the pod is not being deleted and stays in rotation: " + why + ": nothing to wait for"
	case Interrupted:
		return "interrupted after " + secs(o.Held)
	}
	return r.budgetWords(o, now) + "; letting SIGTERM through"
}

// quietWords say what was quiet, and who will meet the SIGTERM.
func (r *run) quietWords(o Outcome, now time.Time) string {
	line := "quiet for " + secs(now.Sub(latest(r.rotation.since(), o.Last.At)))
	if r.window.hold().After(now) {
		line = "quiet but for what followed a probe (a redirect?), as it may again"
	}
	if n, by := r.inUse(now); n > 0 {
		since := latest(r.rotation.since(), r.window.client.At)
		line = fmt.Sprintf("no new connection for %s, but %s used by %s, longer than --keepalive-wait=%s waits: SIGTERM meets them",
			secs(now.Sub(since)), count(n, "open connection is", "open connections are"), tally(by), secs(r.policy.KeepaliveWait))
	}
	if !r.window.draining.drained.IsZero() && r.window.draining.open > 0 {
		line += fmt.Sprintf(", %d of %s let go", max(0, r.window.draining.open-r.window.openOld), count(r.window.draining.open, "open connection has", "open connections have"))
	}
	return line
}

// budgetWords say who held the hook to the end of its budget, and what to do about it.
func (r *run) budgetWords(o Outcome, now time.Time) string {
	line := fmt.Sprintf("the budget of %s ran out while waiting for ", secs(o.Budget))
	held := ""
	if services := r.holding(o.Stage); len(services) > 0 {
		held = " (" + plural("Service", services) + ")"
	}
	switch o.Stage {
	case Removal:
		line += r.removalWords(held)
	case Handover:
		line += "the replacement to become ready" + held + ": if it cannot before this pod ends, set --handover=never"
	default:
		return line + "the lull" + r.callersWords(o, now)
	}
	if r.view.Err != nil {
		line += ": " + r.view.Err.Error()
	}
	return line
}

// removalWords say what the removal waited for.
func (r *run) removalWords(held string) string {
	switch {
	case r.view.Err != nil:
		return "the pod to leave rotation" + held
	case !r.view.SlicesKnown:
		return "the API server to tell of the pod's EndpointSlices: " + r.moreTime()
	}
	return "the pod to leave rotation" + held + ": " + r.moreTime() + " if that takes so long here"
}

// moreTime is what to change for a longer budget.
func (r *run) moreTime() string {
	switch {
	case r.policy.Timeout > 0 && r.budget == r.policy.Timeout:
		return "raise --timeout"
	case !r.view.PodKnown:
		return "set --timeout to what there is"
	case r.view.isRestart() && r.view.RestartGrace < r.view.Grace:
		return "raise the probe's terminationGracePeriodSeconds"
	}
	return "raise terminationGracePeriodSeconds"
}

func (r *run) callersWords(o Outcome, now time.Time) string {
	list, regular := r.window.callers.lately(now, r.window.probes.isProber)
	cure := r.moreTime()
	last := fmt.Sprintf("last seen %s ago, %s", secs(now.Sub(o.Last.At)), o.Last)
	switch due, _ := r.due(); {
	case r.sockets == nil:
		return ": sleeping for " + secs(r.policy.SleepInstead()) + ", since the sockets cannot be seen, did not fit in: " + cure
	case o.Last.At.IsZero():
		return fmt.Sprintf(": nothing has arrived, but after %s the time that was left did not suffice (%s at the soonest): %s",
			r.after(r.rotation.since()), r.after(due), cure)
	case list == "":
		return ": " + last + "; " + cure
	}
	words := fmt.Sprintf(": in the last %s %s; %s", secs(min(recently*time.Second, o.Held)), list, last)
	if from := r.window.probes.origin(regular); regular.IsValid() && (from.node || from.local) {
		// Not --ignore: clients come from there, too, by a NAT of the node's or through a mesh.
		return words + fmt.Sprintf("; if that is a probe that the app redirects, have it ask for the path that answers, else %s", cure)
	}
	if regular.IsValid() {
		return words + fmt.Sprintf("; if that is a health checker and no client, --ignore=%s (which ignores its requests, too), else %s", regular, cure)
	}
	return words + "; " + cure + ", or --ignore who is no client" + r.nobodyElse()
}

// nobodyElse names the Services whose traffic may have nowhere else to go, and what to do then.
func (r *run) nobodyElse() (words string) {
	if r.view.undeleted() {
		return ""
	}
	local := r.view.services(func(s Service) bool { return s.LocalUnknown })
	if len(local) > 0 {
		words += fmt.Sprintf("; if traffic of %s must stay on this node, nobody here can take it over: grant get on services, so that this is seen", plural("Service", local))
	}
	only := r.view.services(func(s Service) bool { return s.fallsBack() && s.Ready+s.Coming == 0 })
	if len(only) == 0 {
		return words
	}
	words += "; no other endpoint is ready or coming (" + plural("Service", only) + ")"
	if r.view.isReplaced() {
		return words + ": if none is to come (strategy Recreate, scaled to zero), set --handover=never"
	}
	return words + ", so no wait ends traffic that comes by it"
}

// ignored lists what didn't count, most first.
func (r *run) ignored() []Ignored {
	var all []Ignored
	add := func(why string, by map[netip.Addr]int) {
		for from, n := range by {
			all = append(all, Ignored{Why: why, From: from, Count: n})
		}
	}
	add("readiness probes", r.window.probes.excused)
	add("named by --ignore", r.window.ignored)
	sort.Slice(all, func(i, j int) bool {
		return cmp.Or(all[j].Count-all[i].Count, all[i].From.Compare(all[j].From), cmp.Compare(all[j].Why, all[i].Why)) < 0
	})
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
