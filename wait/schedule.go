package wait

import (
	"slices"
	"time"
)

const (
	// busyKubelet is how late a probe is on a node that is short of CPU.
	busyKubelet = 250 * time.Millisecond
	// countedStep is how exactly the time of a connection without a peer is known: only from
	// counters, read on a tick.
	countedStep = 100 * time.Millisecond
)

// schedule is when the pod's known probes are due.
type schedule []*dueProbe

// dueProbe is one probe and when it comes next.
type dueProbe struct {
	Probe
	next     time.Time // zero before the first
	missed   bool      // a period has passed without it: it may come late, right before or after the next
	came     []claimed // the newest maxCame that it has claimed
	news     bool      // it has claimed one since that was last looked through in vain
	followUp followUp
}

// origin is where a connection comes from, as far as that makes it a probe's.
type origin struct {
	node  bool // an address of the node's
	local bool // loopback, or the pod's own address
}

// learn replaces the schedule if the probes are others. The most frequent come first: they are
// the first to claim, as there are more of them.
func (s *schedule) learn(probes []Probe) {
	var sorted schedule
	for _, p := range probes {
		if p.Period <= 0 {
			continue
		}
		at := len(sorted)
		for at > 0 && sorted[at-1].Period > p.Period {
			at--
		}
		sorted = slices.Insert(sorted, at, &dueProbe{Probe: p})
	}
	if !slices.EqualFunc(*s, sorted, func(a, b *dueProbe) bool { return a.Probe == b.Probe }) {
		*s = sorted
	}
}

// claim uses up the period of a probe from there that is due on the port at t. It reports false,
// and changes nothing, if none is.
func (s schedule) claim(port uint16, from origin, t time.Time) bool {
	return slices.ContainsFunc(s, func(d *dueProbe) bool {
		return d.isFrom(from) && d.takes(port, t) && d.claim(port, t)
	}) || s.reassign(port, from, t)
}

// claimCounted does so for a connection that only a counter shows: a probe must have shown its
// schedule before, and be due about then.
func (s schedule) claimCounted(port uint16, t time.Time) bool {
	return slices.ContainsFunc(s, func(d *dueProbe) bool { return d.isOn(port) && d.isDue(t) && d.claim(port, t) })
}

// follow takes in a connection that is none of the probes by itself, and may be one that a probe
// makes besides, as it does where the app redirects it. It returns how many more connections are a
// probe's now, and false if this cannot be one.
func (s schedule) follow(a Arrival, from origin) (probes int, ok bool) {
	for _, d := range s {
		if d.Follows && d.isFrom(from) && d.isOn(a.Port) {
			if probes, ok = d.followUp.follow(a); ok {
				return probes, ok
			}
		}
	}
	for _, d := range s {
		d.followUp.others = d.followUp.others || d.isFrom(from) && d.isOn(a.Port)
	}
	return 0, false
}

// newest is the newest arrival that may turn out to be a probe's but counts until it does.
func (s schedule) newest() (last Arrival) {
	for _, d := range s {
		last = newer(last, d.followUp.newest())
	}
	return last
}

// newestClient is the newest of what has followed a probe and turned out to be none of it.
func (s schedule) newestClient() (last Arrival) {
	for _, d := range s {
		last = newer(last, d.followUp.client)
	}
	return last
}

// settlesAt is when the next probe and what follows it must have come: by then it is known of each
// connection that is unclear whether it is the probe's. False if nothing is unclear.
func (s schedule) settlesAt() (at time.Time, ok bool) {
	for _, d := range s {
		if !d.followUp.held.At.IsZero() {
			at, ok = latest(at, d.next.Add(busyKubelet+followWithin)), true
		}
	}
	return at, ok
}

// isOn reports whether there are probes on the port, 0 being any, that come from the node.
func (s schedule) isOn(port uint16) bool {
	return slices.ContainsFunc(s, func(d *dueProbe) bool { return !d.Local && d.isOn(port) })
}

// hasAbsent reports whether there are probes on the port, 0 being any, that have not come yet, or
// not at the last two times; with local also among those that come from inside the pod.
func (s schedule) hasAbsent(port uint16, local bool, now time.Time) bool {
	return slices.ContainsFunc(s, func(d *dueProbe) bool {
		return (local || !d.Local) && d.isOn(port) && (d.next.IsZero() || now.Sub(d.next) > d.Period+d.slack())
	})
}

// period returns the period of a probe on the port that the gap between two connections fits, the
// wanted one unless that is 0; false if there is none.
func (s schedule) period(port uint16, gap, wanted time.Duration) (time.Duration, bool) {
	for _, d := range s {
		if !d.Local && d.isOn(port) && fits(gap, d.Period) && (wanted == 0 || wanted == d.Period) {
			return d.Period, true
		}
	}
	return 0, false
}

// anyPeriod does so whatever the probe's port: an agent in the pod may probe the app itself when it
// is probed.
func (s schedule) anyPeriod(_ uint16, gap, wanted time.Duration) (time.Duration, bool) {
	for _, d := range s {
		if fits(gap, d.Period) && (wanted == 0 || wanted == d.Period) {
			return d.Period, true
		}
	}
	return 0, false
}

// longest is the longest period.
func (s schedule) longest() (longest time.Duration) {
	for _, d := range s {
		longest = max(longest, d.Period)
	}
	return longest
}

// isFrom reports whether the probe comes from there.
func (d *dueProbe) isFrom(from origin) bool {
	return from.local && d.Local || from.node && !d.Local
}

// mayBeNone reports whether the probe may connect to nothing, as a command may. Then it takes
// nothing for its own that is not on time, as long as it comes: that would be a client's.
func (d *dueProbe) mayBeNone() bool { return d.Local && d.Port == 0 }

// hasCommands reports whether there are such probes.
func (s schedule) hasCommands() bool { return slices.ContainsFunc(s, (*dueProbe).mayBeNone) }

// mayBegin reports whether a schedule may begin at t: none has, or what began it was not a probe,
// since nothing came a period later.
func (d *dueProbe) mayBegin(t time.Time) bool {
	return d.next.IsZero() || t.After(d.next.Add(d.margin()))
}

// isOn reports whether the probe comes to the port, 0 being unknown, or any.
func (d *dueProbe) isOn(port uint16) bool { return port == 0 || d.Port == 0 || d.Port == port }

// takes reports whether the probe may come to the port at t, if its period is not used up.
func (d *dueProbe) takes(port uint16, t time.Time) bool {
	return d.isOn(port) && (!d.mayBeNone() || d.mayBegin(t) || d.isDue(t))
}

// claim uses up the period that t lies in, if it is not used up yet.
func (d *dueProbe) claim(port uint16, t time.Time) bool {
	off := time.Duration(0)
	if !d.next.IsZero() {
		off = d.off(t)
	}
	if !d.advance(port, t) {
		return false
	}
	d.beginFollowUp(t, off)
	return true
}

// beginFollowUp takes in that the probe came at t, so much off its schedule.
func (d *dueProbe) beginFollowUp(t time.Time, off time.Duration) {
	d.followUp.begin(t, min(followWithin, d.Period/4), off)
}

// advance does so for the schedule alone, without what follows the probe. The schedule keeps to the
// earliest time of the period that was seen: a probe may come late, and then the next one comes
// sooner than a period later.
func (d *dueProbe) advance(port uint16, t time.Time) bool {
	switch {
	case d.next.IsZero():
		d.next = t.Add(d.Period)
	case t.Before(d.next.Add(-d.slack())):
		if !d.missed {
			return false
		}
		d.missed = false
	case d.mayBeNone() && d.mayBegin(t):
		d.next, d.missed = t.Add(d.Period), false
	default:
		if t.Before(d.next) && !d.mayBeNone() {
			d.next = t // else a client, a little sooner each time, would take the schedule along
		}
		skipped := t.Sub(d.next) / d.Period
		d.missed = skipped > 0
		d.next = d.next.Add(d.Period * (1 + skipped))
	}
	d.remember(claimed{port, t})
	return true
}

// isDue reports whether t is about when the probe is due, now or in any period.
func (d *dueProbe) isDue(t time.Time) bool {
	return !d.next.IsZero() && d.off(t).Abs() <= d.margin()
}

// margin is by how much a probe may be off at most: its slack, and what counters leave open.
func (d *dueProbe) margin() time.Duration { return d.slack() + countedStep }

// off is by how much t is off the schedule, in any period.
func (d *dueProbe) off(t time.Time) time.Duration {
	late := t.Sub(d.next)
	return late - late.Round(d.Period)
}

// slack is by how much a probe may be off its schedule: a tenth of the period, or what a busy
// kubelet takes if that is more, but never a quarter.
func (d *dueProbe) slack() time.Duration {
	return max(d.Period/10, min(d.Period/4, busyKubelet))
}

// fits reports whether a gap is a period, within a tenth of it.
func fits(gap, period time.Duration) bool { return (gap - period).Abs() <= period/10 }
