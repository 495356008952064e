package wait

import (
	"slices"
	"time"
)

// Probes of several periods on one port, as a pod's containers and its sidecars have, come from one
// address, and nothing tells whose a connection is: which is taken for which probe's is a guess, and
// a wrong one leaves a probe over that is nobody's. Then the guess is made anew, over all that is
// remembered.

const (
	// maxCame is how many connections are remembered of each probe: enough to tell periods apart.
	maxCame = 8
	// maxGuesses bounds how much of that is tried.
	maxGuesses = 1000
)

// claimed is a connection that a probe has claimed.
type claimed struct {
	port uint16
	at   time.Time
}

// remember takes in what the probe has claimed.
func (d *dueProbe) remember(c claimed) {
	if len(d.came) >= maxCame {
		d.came = d.came[1:] // not in place: assign takes back what it has tried
	}
	d.came, d.news = append(d.came, c), true
}

// reassign looks for another way to give the connections that were claimed to the probes from there,
// which leaves one of them for the port at t, and takes it. It reports false, and changes no
// schedule, if there is none. That is not tried again before a probe has claimed something new.
func (s schedule) reassign(port uint16, from origin, t time.Time) bool {
	rivals := slices.DeleteFunc(slices.Clone(s), func(d *dueProbe) bool { return !d.isFrom(from) || !d.isOn(port) })
	if len(rivals) < 2 || rivals[0].Period == rivals[len(rivals)-1].Period || !slices.ContainsFunc(rivals, func(d *dueProbe) bool { return d.news }) {
		return false // with one period it does not matter whose is whose
	}
	all := []claimed{{port, t}}
	guess := make(schedule, len(rivals))
	for i, d := range rivals {
		for _, c := range d.came {
			all = inOrder(all, c)
		}
		guess[i] = &dueProbe{Probe: d.Probe}
	}
	left := maxGuesses
	if !guess.assign(all, &left) {
		for _, d := range rivals {
			d.news = false
		}
		return false
	}
	for i, d := range rivals {
		d.next, d.missed, d.came = guess[i].next, guess[i].missed, guess[i].came
		if slices.Contains(d.came, claimed{port, t}) {
			d.beginFollowUp(t, d.off(t))
		}
	}
	return true
}

// inOrder returns the connections with one more, by their time.
func inOrder(all []claimed, c claimed) []claimed {
	at := len(all)
	for at > 0 && all[at-1].at.After(c.at) {
		at--
	}
	return slices.Insert(all, at, c)
}

// assign gives each of the connections to one of the probes, in as many steps as are left. It
// reports false if there is no way.
func (s schedule) assign(all []claimed, left *int) bool {
	if len(all) == 0 {
		return true
	}
	for _, d := range s {
		if *left--; *left < 0 {
			return false
		}
		before := *d
		if d.takes(all[0].port, all[0].at) && d.advance(all[0].port, all[0].at) && s.assign(all[1:], left) {
			return true
		}
		*d = before
	}
	return false
}
