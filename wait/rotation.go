package wait

import "time"

// rotation follows the stages that the control plane decides:
//
//	Removal    the pod is in rotation
//	Handover   it is out, and a replacement is awaited
//	Lull       it is out, and nobody is awaited
//
// A stage's end can be taken back: a slice may list the pod ready again, a replacement may appear
// or die. Where the control plane is silent, or the slices cannot be read, the pod is taken to be
// out (apiSilent). Slices that nobody promises to keep up to date are not waited for, but heeded
// (unmanaged).
type rotation struct {
	handover HandoverMode
	began    time.Time // when the sockets were first watched, and the control plane first asked

	stage  Stage
	left   time.Time // when the pod left rotation; zero in Removal
	handed time.Time // since when no replacement is awaited; zero before Lull

	apiSilent bool // the stage goes by no current word of the control plane
	guessed   bool // left was assumed when the control plane fell silent
	awaited   bool // a replacement has been awaited
	doubt     doubt

	inSince   time.Time // since when Removal is seen; zero in the other stages
	toldIn    bool      // the story has said that it takes long
	unmanaged []string  // Services whose slices have the pod ready although it is out
	alone     []string  // Services that nobody else can serve before the pod has ended
	toldStand bool      // the story has said that endpoints stand by
	mustKnow  time.Time // until when slices that arrive page by page are waited for
	granted   time.Time // until when silence may be the hook's own
	grantedOn time.Time // the control plane's last word when it was granted
}

// change is something that has happened to a rotation, for the story.
type change struct {
	what     happening
	at       time.Time
	services []string
}

type happening int

const (
	apiLost       happening = iota + 1 // the stages go on without the control plane
	apiBack                            // it answers again
	rotationLong                       // the pod is in rotation for long, by these Services
	rotationBack                       // it is back in rotation, by these
	rotationLeft                       // it is out
	unmanagedStay                      // out, but for these, whose slices nobody promises to keep up to date
	unmanagedLeft                      // out of those, too
	handoverBegun                      // a replacement is awaited, for these Services
	handoverEnded                      // no longer
	aloneBegun                         // these have nobody else, and will have none
	standBy                            // these have endpoints that are not awaited, since they have been unready for long
)

// longRemoval is after how long in rotation the story says so.
const longRemoval = time.Second

func newRotation(handover HandoverMode, began time.Time) rotation {
	return rotation{handover: handover, began: began, stage: Removal}
}

// leave takes the pod for one that left rotation at the time, where there is no control plane to
// ask.
func (r *rotation) leave(at time.Time) {
	r.stage, r.left, r.handed, r.apiSilent = Lull, at, at, true
}

// since is when the quiet window may begin.
func (r *rotation) since() time.Time { return latest(r.left, r.handed) }

// silentAt is when the hook goes on without the control plane unless it hears from it. Nobody has
// been silent who was not asked.
func (r *rotation) silentAt(v View) time.Time {
	if !v.SlicesKnown {
		at := latest(r.began, v.SlicesContact).Add(patience)
		if at.After(r.mustKnow) {
			at = latest(r.began.Add(patience), r.mustKnow)
		}
		return latest(at, r.granted)
	}
	return latest(latest(v.Contact, v.Asked).Add(patience), r.granted)
}

// needsAPI reports whether a word of the control plane is needed, and hoped for.
func (r *rotation) needsAPI() bool { return !r.apiSilent && r.stage != Lull }

// grant gives the control plane a moment to be heard after the process did not run for a while: it
// was the hook that was silent. It does so once after each word, so that a process that is always
// late does not wait for ever.
func (r *rotation) grant(now, contact time.Time) {
	if !contact.Equal(r.grantedOn) || r.granted.IsZero() {
		r.granted, r.grantedOn = now.Add(answerTime), contact
	}
}

// answerTime is how long a request to the API server may take.
const answerTime = 3 * time.Second

// see brings the stages up to what the control plane says, or to its silence, and returns what has
// changed.
func (r *rotation) see(v View, now time.Time) []change {
	silent := !now.Before(r.silentAt(v))
	current := v.SlicesKnown && !silent
	var changes []change
	switch {
	case current && r.apiSilent:
		changes = append(changes, r.regain(now))
	case !current && (silent || v.SlicesRefused) && r.needsAPI():
		changes = append(changes, r.lose(v, now))
	}
	r.doubt.record(!r.apiSilent && v.SlicesKnown && v.undeleted() && len(v.services(inRotation)) > 0, now)
	if current {
		changes = append(changes, r.follow(v, now)...)
	}
	return changes
}

// lose goes on without the control plane. What has arrived since its last word is known, so the
// window may look back on it.
func (r *rotation) lose(v View, now time.Time) change {
	since := r.began
	if v.SlicesKnown {
		since = v.Contact
	}
	if r.left.IsZero() {
		r.left, r.guessed = since, true
	}
	r.stage, r.handed, r.apiSilent, r.inSince = Lull, latest(r.left, since), true, time.Time{}
	return change{what: apiLost, at: now}
}

// regain goes by the control plane again. What was assumed meanwhile is not.
func (r *rotation) regain(now time.Time) change {
	r.apiSilent = false
	if r.guessed {
		r.stage, r.left, r.handed, r.guessed = Removal, time.Time{}, time.Time{}, false
	}
	return change{what: apiBack, at: now}
}

// follow goes by a view that is current.
func (r *rotation) follow(v View, now time.Time) (changes []change) {
	in := v.services(func(s Service) bool { return s.InRotation && (!s.Unmanaged || v.undeleted()) })
	if len(in) > 0 && r.doubt.settle(v, now) != contradicted {
		return r.stay(in, now)
	}
	r.inSince, r.toldIn = time.Time{}, false
	unmanaged := v.services(func(s Service) bool { return s.InRotation && s.Unmanaged })
	switch {
	case r.stage == Removal:
		r.stage, r.left = Handover, now
		changes = append(changes, change{what: rotationLeft, at: now})
		if len(unmanaged) > 0 && !v.undeleted() {
			changes = append(changes, change{unmanagedStay, now, unmanaged})
		}
	case len(r.unmanaged) > 0 && len(unmanaged) == 0:
		r.left = now
		changes = append(changes, change{unmanagedLeft, now, r.unmanaged})
	}
	r.unmanaged = unmanaged
	return append(changes, r.handOver(v, now)...)
}

// stay: the pod is in rotation, by these Services.
func (r *rotation) stay(in []string, now time.Time) (changes []change) {
	if r.stage != Removal {
		changes = append(changes, change{rotationBack, now, in})
	}
	if r.inSince.IsZero() {
		r.inSince = now
	}
	if !r.toldIn && !now.Before(r.inSince.Add(longRemoval)) {
		r.toldIn = true
		changes = append(changes, change{rotationLong, now, in})
	}
	r.stage, r.left, r.handed, r.unmanaged, r.alone = Removal, time.Time{}, time.Time{}, nil, nil
	return changes
}

// handOver: the pod is out. Is anybody to be awaited?
func (r *rotation) handOver(v View, now time.Time) (changes []change) {
	switch wait := r.awaits(v); {
	case len(wait) > 0 && (r.stage == Lull || !r.awaited):
		r.stage, r.handed, r.awaited = Handover, time.Time{}, true
		changes = append(changes, change{handoverBegun, now, wait})
	case len(wait) == 0 && r.stage == Handover:
		r.stage, r.handed = Lull, now
		if r.awaited {
			changes = append(changes, change{what: handoverEnded, at: now})
		}
	}
	if by := r.standsBy(v); len(by) > 0 && !r.toldStand {
		r.toldStand = true
		changes = append(changes, change{standBy, now, by})
	}
	was := len(r.alone) > 0
	r.alone = nil
	if r.stage == Lull && r.handover != HandoverAlways && v.isAlone(r.handover, now.Before(r.left.Add(youngBeside))) {
		r.alone = v.services(Service.fallsBack)
	}
	if len(r.alone) > 0 && !was {
		changes = append(changes, change{aloneBegun, now, r.alone})
	}
	return changes
}

// standsBy names the Services whose only other endpoints have been unready for long: they become
// ready once this pod has gone, or not at all.
func (r *rotation) standsBy(v View) []string {
	if r.handover != HandoverAuto || v.undeleted() {
		return nil
	}
	return v.services(func(s Service) bool { return s.fallsBack() && s.Ready == 0 && s.Coming == 0 && s.StandBy > 0 })
}

// youngBeside is for how long traffic is served on for the sake of an endpoint that may be on its
// way, beside one that has been unready for long. Where readiness is a matter of who leads, it does
// not come with the time, for a younger one no more than for an old one. Else the old one is
// broken.
const youngBeside = 10 * time.Second

// awaits names the Services whose traffic still comes here because none of their other endpoints is
// ready: kube-proxy falls back to endpoints that serve while they terminate (KEP-1669), and no
// others. A pod that isn't being deleted is none of these.
func (r *rotation) awaits(v View) []string {
	if r.handover == HandoverNever || v.undeleted() {
		return nil
	}
	return v.services(func(s Service) bool {
		return s.fallsBack() && s.Ready == 0 && (s.Coming > 0 && s.Steady == 0 || r.handover == HandoverAlways)
	})
}

// givesUp is the step that serves on no longer for a young endpoint beside one that waits steadily;
// false if there is none.
func (r *rotation) givesUp(v View, now time.Time) (step, bool) {
	at := r.left.Add(youngBeside)
	young := v.services(func(s Service) bool { return s.fallsBack() && s.Ready == 0 && s.Coming > 0 && s.Steady > 0 })
	return step{at: at, do: decide}, r.stage == Lull && now.Before(at) && len(young) > 0
}

// long is the step that tells that the removal takes long; false if none is.
func (r *rotation) long() (step, bool) {
	return step{at: r.inSince.Add(longRemoval), do: decide}, !r.inSince.IsZero() && !r.toldIn
}

// restart is the step that ends the hook of a pod whose endpoint stays whatever it does, or the one
// that asks about that again; false if neither is planned.
func (r *rotation) restart(v View, now time.Time) (step, bool) {
	if r.stage != Removal {
		return step{}, false
	}
	if r.doubt.settle(v, now) == confirmed {
		return step{at: now, do: end, why: Restart}, true
	}
	at, ok := r.doubt.again(now)
	return step{at: at, do: decide}, ok
}
