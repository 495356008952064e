package kube

import "time"

// stepLimit is more than passes between two requests while none is answered: getTimeout, and the
// pause until the next attempt.
const stepLimit = getTimeout + pollSeldom + pollOften

// owed measures for how long the API server has owed an answer: from the first request since its
// last answer. Time in which this process was itself stopped (by a signal, a frozen cgroup, a
// stalled machine) does not count: then no request follows the last one within stepLimit.
type owed struct {
	before time.Duration // until the last request was sent
	sent   time.Time     // the last request; zero if nothing is owed
}

// ask counts a request that is sent now.
func (o *owed) ask(now time.Time) {
	if !o.sent.IsZero() {
		o.before += o.step(now)
	}
	o.sent = now
}

// settle notes an answer: nothing is owed any more.
func (o *owed) settle() { *o = owed{} }

// since is when the answer began to be owed, zero if none is.
func (o *owed) since(now time.Time) time.Time {
	if o.sent.IsZero() {
		return time.Time{}
	}
	return now.Add(-o.before - o.step(now))
}

func (o *owed) step(now time.Time) time.Duration { return min(now.Sub(o.sent), stepLimit) }
