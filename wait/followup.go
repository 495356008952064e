package wait

import "time"

// followWithin is how soon after a probe's first connection the others come: what an app takes to
// answer a probe. The shorter it is, the less often a client's connection falls into it.
const followWithin = 250 * time.Millisecond

// followJitter is by how much the time that an app takes to answer a probe may differ where two
// probes suffice to tell what follows them, and busyJitter where it takes one more, on a node that is
// short of CPU.
const followJitter, busyJitter = 15 * time.Millisecond, 100 * time.Millisecond

// A probe may come that much sooner and later than the one before, by its schedule, as long as what
// follows it is not learnt: what comes otherwise may be a client that takes the probe's turn. Once it
// is, what moves with the probe is all the more the probe's.
const soonerTurn, laterTurn = 10 * time.Millisecond, 20 * time.Millisecond

// maxFollow bounds how many connections may follow a probe's first: more are a busy client's.
const maxFollow = 4

// followUp learns how many connections one probe makes. An HTTP probe that is answered by a
// redirect within the host opens another one (the kubelet's pkg/probe/http), and a command may open
// several. What follows two probes in a row equally soon is taken for theirs, or three where it is
// less exact, if nothing else has come between them. The next connection is a client's, and so is
// each until then (newest). Of clients that come all the time some always follow a probe. One with
// nearly its period does so for a while, but later or sooner by the same time each time (drifts):
// where that comes out, what was excused counts, and it takes one probe more to be believed again.
type followUp struct {
	began time.Time     // when the probe came
	until time.Time     // when what follows it has come
	off   time.Duration // by how much it was off its schedule
	more  delays        // how soon connections have followed it so far

	first  delays        // how soon they followed the first of the probes that agree
	before delays        // and the last of them
	step   time.Duration // by how much that differs from the one before it
	agree  int           // how many probes in a row do, before this one
	loose  bool          // but not exactly
	doubts int           // how often what was learnt has proved wrong
	learnt bool          // what comes as soon as before is the probe's
	others bool          // something has come since the probe that was none of its

	held      Arrival // the newest of more that counts
	heldInRow Arrival // and of what followed those that agree
	client    Arrival // the newest of all earlier ones
	excused   Arrival // the newest that was taken for the probe's
}

// begin takes in that a probe came at t, so much off its schedule: what follows it within the time
// may be part of it.
func (f *followUp) begin(t time.Time, within, off time.Duration) {
	switch moved := off-f.off < -soonerTurn || off-f.off > laterTurn; {
	case moved && !f.learnt, f.others: // one of the two may have been a client's
		f.doubt()
		f.client, f.held = newer(f.client, f.held), Arrival{}
	case f.agree > 0 && f.more.n == f.first.n: // each has come as soon, or follow would have said so
		f.agree++
	default:
		f.doubt()
		f.first, f.agree = f.more, min(f.more.n, 1)
	}
	f.step, f.before = f.more.list[0]-f.before.list[0], f.more
	f.heldInRow, f.held = newer(f.heldInRow, f.held), Arrival{}
	f.began, f.until, f.off = t, t.Add(within), off
	f.more, f.others = delays{}, false
}

// doubt gives up what was learnt, or was about to be: it was a client's all the time.
func (f *followUp) doubt() {
	f.client = newer(newer(f.client, f.heldInRow), f.excused)
	f.heldInRow, f.excused = Arrival{}, Arrival{}
	if f.learnt {
		f.doubts++
	}
	f.agree, f.learnt, f.loose = 0, false, false
}

// follow takes in a connection, and returns how many more are the probe's now. It reports false if
// it comes too late, or beyond what the probe is known to make.
func (f *followUp) follow(a Arrival) (probes int, ok bool) {
	if a.At.After(f.until) || f.learnt && f.more.n >= f.first.n {
		return 0, false
	}
	f.more.add(a.At.Sub(f.began))
	if f.agree > 0 && (!f.before.begins(f.more, busyJitter) || f.drifts()) {
		f.doubt()
	}
	f.loose = f.loose || !f.first.begins(f.more, followJitter)
	needed := 1 + f.doubts
	if f.loose {
		needed++
	}
	switch {
	case f.learnt:
		f.excused = newer(f.excused, a)
		return 1, true
	case f.agree >= needed && f.more.n == f.first.n:
		f.learnt, f.excused = true, a
		f.held, f.heldInRow = Arrival{}, Arrival{}
		return (f.agree + 1) * f.first.n, true
	}
	f.held = newer(f.held, a)
	return 0, true
}

// drifts reports whether the first of what follows comes later, or sooner, by about the same time
// as with the probe before.
func (f *followUp) drifts() bool {
	step := f.more.list[0] - f.before.list[0]
	return step.Abs() > driftLeast && (step-f.step).Abs() <= max(driftLeast, step.Abs()/4)
}

// driftLeast is by how much a client's period must differ from the probe's to tell them apart.
const driftLeast = 4 * time.Millisecond

// newest is the newest connection that counts so far.
func (f *followUp) newest() Arrival {
	return newer(newer(f.client, f.heldInRow), f.held)
}

// delays are how soon after a probe others came: how many, and of the first maxFollow when.
type delays struct {
	n    int
	list [maxFollow]time.Duration
}

func (d *delays) add(delay time.Duration) {
	if d.n < maxFollow {
		d.list[d.n] = delay
	}
	d.n++
}

// begins reports whether the others came as soon as the first of these, each by itself.
func (d *delays) begins(others delays, jitter time.Duration) bool {
	if others.n > min(d.n, maxFollow) {
		return false
	}
	for i := range others.n {
		if (d.list[i] - others.list[i]).Abs() > jitter {
			return false
		}
	}
	return true
}
