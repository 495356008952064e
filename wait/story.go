package wait

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The story has one line an event. Each is a sentence that needs no attribute to be understood; the
// attributes repeat its figures for machines, times in seconds since the start with the unit in the
// name.

// secs prints a duration as people say it: 5s, 0.1s, 12.3s.
func secs(d time.Duration) string {
	return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
}

func (r *run) after(t time.Time) string { return secs(t.Sub(r.start)) }

// seconds is the time since the start to the millisecond.
func (r *run) seconds(t time.Time) float64 {
	return t.Sub(r.start).Round(time.Millisecond).Seconds()
}

// miss tells what cannot be seen and what happens instead, once.
func (r *run) miss(instead string, err error) {
	line := instead
	if err != nil {
		line += ": " + err.Error()
	}
	if slices.Contains(r.missing, line) {
		return
	}
	r.missing = append(r.missing, line)
	r.policy.Log.Warn(line, "event", "missing")
}

func (r *run) tellBudget() {
	grace, reserve := r.policy.shares(r.view, r.sight())
	least := r.policy.Least(r.sight())
	line, cure := "budget "+secs(r.budget), r.moreTime()
	switch {
	case r.policy.Timeout > 0 && r.budget == r.policy.Timeout:
		line += " as asked"
	case !r.view.PodKnown:
		line += fmt.Sprintf(": the grace period is unknown, taking %s less %s for the app", secs(grace), secs(reserve))
	default:
		line += fmt.Sprintf(": grace period %s less %s for the app", secs(grace), secs(reserve))
	}
	log := r.policy.Log.Info
	switch {
	case r.policy.Timeout > r.budget:
		line += fmt.Sprintf("; the timeout of %s does not fit in: %s or lower --reserve", secs(r.policy.Timeout), cure)
		log = r.policy.Log.Warn
	case !r.policy.Fits(r.view, r.sight()):
		line += fmt.Sprintf("; at least %s of waiting do not fit in: %s", secs(least), cure)
		log = r.policy.Log.Warn
	}
	if line == r.told {
		return
	}
	r.told = line
	log(line, "event", "budget", "budget_s", r.budget.Seconds(), "grace_s", grace.Seconds(), "reserve_s", reserve.Seconds())
}

// tellChange tells what has happened to the rotation.
func (r *run) tellChange(c change) {
	switch c.what {
	case apiLost:
		r.miss("the EndpointSlices cannot be seen: going by the sockets alone, for at least "+secs(r.policy.SocketsAlone()), r.view.Err)
	case apiBack:
		r.policy.Log.Info("the API server answers again: going by the EndpointSlices", "event", "api-back")
	case rotationLong:
		r.policy.Log.Info("still in rotation ("+plural("Service", c.services)+")", "event", "in-rotation", "services", c.services)
	case rotationBack:
		r.policy.Log.Warn("back in rotation ("+plural("Service", c.services)+"): waiting for its removal anew", "event", "rotation-back", "services", c.services)
	case rotationLeft:
		r.tellLeft()
	case unmanagedStay:
		r.policy.Log.Warn(fmt.Sprintf("%s: the slices are not the endpoint controller's and have the pod ready still: not waiting for them, but for at least %s in all",
			plural("Service", c.services), secs(r.policy.SocketsAlone())), "event", "unmanaged", "services", c.services)
	case unmanagedLeft:
		r.policy.Log.Info("out of rotation by the other slices too after "+r.after(c.at)+" ("+plural("Service", c.services)+")",
			"event", "unmanaged-left", "after_s", r.seconds(c.at), "services", c.services)
	case handoverBegun:
		r.policy.Log.Info("no other endpoint is ready ("+plural("Service", c.services)+"): serving on until a replacement is", "event", "handover", "services", c.services)
	case standBy:
		r.policy.Log.Info("no other endpoint is ready ("+plural("Service", c.services)+"), and those that are listed have been unready for long: not waiting for them (--handover=always does)",
			"event", "stand-by", "services", c.services)
	case aloneBegun:
		r.tellAlone(c.services)
	case handoverEnded:
		r.policy.Log.Info("no replacement is awaited any more after "+r.after(c.at), "event", "handed-over", "after_s", r.seconds(c.at))
	}
}

func (r *run) tellLeft() {
	left := r.rotation.left
	all := r.view.services(func(Service) bool { return true })
	always := func(s Service) bool { return s.AlwaysReady || s.InRotation && !s.Unmanaged }
	if ready := r.view.services(always); len(ready) > 0 {
		r.policy.Log.Info(plural("Service", ready)+": addresses are published ready or not, so their slices do not show the removal: not waiting for it",
			"event", "always-ready", "services", ready)
	}
	line := "out of rotation after " + r.after(left)
	switch {
	case len(all) == 0:
		line = "in no Service's EndpointSlices: no rotation to leave"
	default:
		line += " (" + plural("Service", all) + ")"
	}
	if r.view.undeleted() {
		line += ", though not being deleted"
		if r.view.Ended != "" {
			line += " (" + r.view.Ended + ")"
		}
	}
	r.policy.Log.Info(line, "event", "left", "after_s", r.seconds(left), "services", all)
	r.tellUnwatched()
}

// nameLife is how long clients may hold the addresses of a headless Service: what the cluster's DNS
// gives them for a life (30 s, CoreDNS's plugin kubernetes).
const nameLife = 30 * time.Second

// Unwatched lists what of the pod's Services cannot be watched, and what to set for it.
func (p Policy) Unwatched(v View) []string {
	var lines []string
	for _, s := range v.Services {
		if len(s.Unwatched) > 0 {
			lines = append(lines, fmt.Sprintf("Service %s: %s cannot be watched: use --min", s.Name, strings.Join(s.Unwatched, ", ")))
		}
		if s.Headless && p.Min < nameLife {
			lines = append(lines, fmt.Sprintf("Service %s is headless: its clients may hold the pod's address for %s after it left: use --min=%s if they connect seldom",
				s.Name, secs(nameLife), secs(nameLife)))
		}
	}
	return lines
}

func (r *run) tellUnwatched() {
	for _, line := range r.policy.Unwatched(r.view) {
		r.policy.Log.Warn(line, "event", "unwatched")
	}
}

// tellAlone tells that kube-proxy goes on sending here, rightly.
func (r *run) tellAlone(services []string) {
	why := "it has no owner that makes another pod"
	switch {
	case r.policy.Handover == HandoverNever:
		why = "--handover=never waits for nobody"
	case len(r.view.services(func(s Service) bool { return s.Steady > 0 })) > 0:
		why = "the other endpoints are not ready, some of them for long"
	case r.view.Owner != "":
		why = "a " + r.view.Owner + " makes another pod only then"
	}
	leaving := "leaving " + secs(r.policy.Quiet) + " after the removal"
	if time.Since(r.rotation.left) > r.policy.Quiet {
		leaving = "not waiting for its end"
	}
	r.policy.Log.Info(fmt.Sprintf("nobody can take over before this pod has ended (%s; %s), so traffic need not end: %s",
		plural("Service", services), why, leaving), "event", "alone", "services", services, "owner", r.view.Owner)
}

func (r *run) tellArrival(a Arrival) {
	ago := max(0, time.Since(a.At))
	r.policy.Log.Info("last arrival "+secs(ago)+" ago: "+a.String(), "event", "arrival",
		"kind", a.Kind.String(), "at_s", r.seconds(a.At), "port", a.Port, "peer", peerText(a.Peer.Addr()))
}

// tellOpen tells how many connections the hook still waits for.
func (r *run) tellOpen() {
	if r.stage(time.Now()) != Closing || r.window.open == r.toldOpen {
		return
	}
	r.toldOpen = r.window.open
	r.policy.Log.Info(fmt.Sprintf("%s, but %s: waiting for at most %d", r.reached(), count(r.window.open, "connection is open", "connections are open"), *r.policy.MaxOpen),
		"event", "closing", "open", r.window.open, "max_open", *r.policy.MaxOpen)
}

// debugLook tells what a look has found, for those who want to know why the hook waits.
func (r *run) debugLook(f *findings) {
	requests, others, ignored := 0, 0, 0
	for _, g := range f.requests {
		requests += g.count
	}
	for _, g := range f.rest {
		others += g.count
	}
	for _, n := range f.ignored {
		ignored += n
	}
	r.policy.Log.Debug(fmt.Sprintf("looked at %v: %d new or a probe's, %d requests, %d others, %d queues, %d ignored",
		r.ports, len(f.single), requests, others, len(f.waiting), ignored),
		"event", "look", "at_s", r.seconds(r.looked), "took_s", time.Since(r.looked).Seconds(), "ports", r.ports,
		"single", len(f.single), "requests", requests, "others", others, "queues", len(f.waiting), "ignored", ignored)
}

func peerText(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown"
	}
	return a.String()
}

// plural lists names behind a noun: "Service web", "Services api, web".
func plural(noun string, names []string) string {
	if len(names) != 1 {
		noun += "s"
	}
	return noun + " " + strings.Join(names, ", ")
}

// count is a number with its noun: "1 endpoint is", "2 endpoints are".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
