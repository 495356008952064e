package wait

import "time"

// followWithin is how soon after a probe's first connection the others come: what an app takes to
// answer a probe. The shorter it is, the less often a client's connection falls into it.
const followWithin = 250 * time.Millisecond

// followJitter is by how much a probe may be off its schedule, and the time that an app takes to
// answer it may differ, from one to the next, when what follows them is learnt.
const followJitter = 50 * time.Millisecond

// maxFollow bounds how many connections may follow a probe's first: more are a busy client's.
const maxFollow = 4

// followUp learns how many connections one probe makes. An HTTP probe that is answered by a
// redirect within the host opens another one (the kubelet's pkg/probe/http), and a command may open
// several. What has followed two probes in a row, equally soon, is taken for theirs, if nothing
// else has come between the two; the next connection is a client's, and so is each until then
// (newest). Of clients that come all the time some always follow a probe.
type followUp struct {
	began  time.Time     // when the probe came
	until  time.Time     // when what follows it has come
	off    time.Duration // by how much it was off its schedule
	more   delays        // how soon connections have followed it so far
	before delays        // and had followed the one before
	moved  bool          // that one was otherwise off the schedule: one of the two may have been a client's
	learnt int           // how many are the probe's
	others bool          // something has come since the probe that was none of its

	held       Arrival // the newest of more that counts
	heldBefore Arrival // and of those before
	client     Arrival // the newest of all earlier ones
}

// begin takes in that a probe came at t, so much off its schedule: what follows it within the time
// may be part of it.
func (f *followUp) begin(t time.Time, within, off time.Duration) {
	f.off, f.moved = off, (off-f.off).Abs() > followJitter
	f.began, f.until = t, t.Add(within)
	f.learnt, f.before = min(f.learnt, f.more.n), f.more
	if f.others {
		f.learnt, f.before = 0, delays{}
	}
	f.more, f.others = delays{}, false
	f.client, f.heldBefore, f.held = newer(f.client, f.heldBefore), f.held, Arrival{}
}

// follow takes in a connection, and returns how many more are the probe's now. It reports false if
// it comes too late, or beyond what the probe is known to make.
func (f *followUp) follow(a Arrival) (probes int, ok bool) {
	if a.At.After(f.until) || f.learnt > 0 && f.more.n >= f.learnt {
		return 0, false
	}
	f.more.add(a.At.Sub(f.began))
	if f.more.n <= f.learnt {
		return 1, true
	}
	if !f.moved && f.more.agree(f.before) {
		f.learnt = f.more.n
		f.held, f.heldBefore = Arrival{}, Arrival{}
		return f.before.n + f.more.n, true
	}
	f.held = newer(f.held, a)
	return 0, true
}

// newest is the newest connection that counts so far.
func (f *followUp) newest() Arrival {
	return newer(newer(f.client, f.heldBefore), f.held)
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

// agree reports whether as many came as the other time, and each as soon.
func (d *delays) agree(other delays) bool {
	if d.n != other.n || d.n > maxFollow {
		return false
	}
	for i := range d.n {
		if (d.list[i] - other.list[i]).Abs() > followJitter {
			return false
		}
	}
	return true
}
