package wait

import (
	"strings"
	"time"
)

// restartDoubt is how long a pod must stand in rotation, not being deleted, until
// that means a restart. Where the kubelet ends a pod whose time is up
// (activeDeadlineSeconds), hook and endpoint learn of it side by side: the slices
// were 20 to 120 ms behind. The control plane must have spoken in the second half
// of that time; until it has, it is asked again after restartAgain.
const (
	restartDoubt = 500 * time.Millisecond
	restartAgain = 100 * time.Millisecond
)

// rotation follows the stages that the control plane decides: removal and
// handover. A stage's end is a fact that can be taken back: a slice may list
// the pod ready again, a replacement may appear or die.
type rotation struct {
	left   time.Time // when the pod left rotation; zero while it is in
	handed time.Time // since when nobody has to be waited for; zero while somebody has
	blind  bool      // the control plane's word on this is missing
	stays  time.Time // since when nobody deletes the pod and it is in rotation; zero while that isn't so

	unseen bool // left is a guess, made without sight
	waited bool // a handover has been waited for
}

func (r *run) stage() Stage {
	switch {
	case r.left.IsZero():
		return Removal
	case r.handed.IsZero():
		return Handover
	}
	return Lull
}

// rotate brings the stages up to what the control plane says, or to its silence.
func (r *run) rotate(now time.Time) {
	silent := !now.Before(r.blindAt())
	switch {
	case r.view.SlicesKnown && !silent:
		r.sighted(now)
	case silent || !r.view.SlicesKnown && r.view.SlicesRefused:
		r.goBlind()
	}
	switch stays := !r.blind && r.view.SlicesKnown && r.undeleted() && len(r.services(inRotation)) > 0; {
	case !stays:
		r.stays = time.Time{}
	case r.stays.IsZero():
		r.stays = now
	}
}

// blindAt is when the hook goes on without the control plane unless it hears
// from it.
func (r *run) blindAt() time.Time {
	if !r.view.SlicesKnown {
		return r.start.Add(patience)
	}
	return r.view.Contact.Add(patience)
}

// sighted judges by a view that is current.
func (r *run) sighted(now time.Time) {
	if r.blind {
		r.blind = false
		if r.unseen {
			r.left, r.handed, r.unseen = time.Time{}, time.Time{}, false
		}
		r.Log.Info("the API server answers again: going by the EndpointSlices", "event", "api-back")
	}
	if in := r.services(inRotation); len(in) > 0 && !r.divided(now) {
		if !r.left.IsZero() {
			r.Log.Warn("back in rotation ("+plural("Service", in)+"): waiting for its removal anew", "event", "rotation-back", "services", in)
		}
		r.left, r.handed = time.Time{}, time.Time{}
		return
	}
	if r.left.IsZero() {
		r.left = now
		r.tellLeft()
	}
	wait := r.awaited()
	switch {
	case len(wait) > 0 && (!r.handed.IsZero() || !r.waited):
		r.handed, r.waited = time.Time{}, true
		r.Log.Info("no other endpoint is ready ("+plural("Service", wait)+"): serving on until a replacement is", "event", "handover", "services", wait)
	case len(wait) == 0 && r.handed.IsZero():
		r.handed = now
		if r.waited {
			r.Log.Info("nobody has to be waited for any more after "+r.after(now), "event", "handed-over", "after_s", r.seconds(now))
		}
	}
}

// goBlind goes on without the control plane, unless nothing more is needed of it.
func (r *run) goBlind() {
	if r.blind || !r.left.IsZero() && !r.handed.IsZero() {
		return
	}
	r.blind = true
	// What has arrived since the last word is known: the window may look back on it.
	since := r.began
	if r.view.SlicesKnown {
		since = r.view.Contact
	}
	if r.left.IsZero() {
		r.left, r.unseen = since, true
	}
	r.handed = latest(r.left, since)
	r.miss("the EndpointSlices can't be seen: going by the sockets alone, for at least "+secs(2*r.Quiet), r.view.Err)
	r.fund()
}

// awaited names the Services whose traffic still comes here because none of
// their other endpoints is ready: kube-proxy falls back to endpoints that serve
// while they terminate (KEP-1669), and no others. A pod that isn't being
// deleted is none of these.
func (r *run) awaited() []string {
	if r.Policy.Handover == HandoverNever || r.undeleted() {
		return nil
	}
	return r.services(func(s Service) bool {
		return s.Serving && s.Ready == 0 && (s.Coming > 0 || r.Policy.Handover == HandoverAlways)
	})
}

func (r *run) services(which func(Service) bool) []string {
	var names []string
	for _, s := range r.view.Services {
		if which(s) {
			names = append(names, s.Name)
		}
	}
	return names
}

func inRotation(s Service) bool { return s.InRotation }

func (r *run) undeleted() bool { return r.view.PodKnown && !r.view.Deleting }

// restarting: nobody deletes the pod and it is in rotation. Its container is being
// restarted, or the kubelet evicts it; its endpoint stays.
func (r *run) restarting(now time.Time) bool {
	return r.left.IsZero() && r.stood(now) && !r.divided(now)
}

// divided: nobody deletes the pod, and yet it has ended, or some Service no longer
// lists it ready. Those that still do publish addresses that are not ready.
func (r *run) divided(now time.Time) bool {
	out := r.services(func(s Service) bool { return !s.InRotation })
	return r.stood(now) && r.undeleted() && (r.view.Ended != "" || len(out) > 0)
}

// stood says whether the pod has stood undeleted in rotation for long enough, as
// far as that is known by now.
func (r *run) stood(now time.Time) bool {
	return !r.stays.IsZero() && !now.Before(r.stays.Add(restartDoubt)) && r.view.Contact.Sub(r.stays) >= restartDoubt/2
}

// stoodAt is when to see about that next.
func (r *run) stoodAt(now time.Time) (time.Time, bool) {
	return latest(r.stays.Add(restartDoubt), now.Add(restartAgain)), !r.stays.IsZero() && r.left.IsZero()
}

// plural lists names behind a noun: "Service web", "Services api, web".
func plural(noun string, names []string) string {
	if len(names) != 1 {
		noun += "s"
	}
	return noun + " " + strings.Join(names, ", ")
}
