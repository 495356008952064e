package procnet

import "time"

// maxOpenings bounds the ticks that are told apart: 7 minutes of them.
const maxOpenings = 4096

// openingLog remembers at which ticks PassiveOpens had grown, and to what.
type openingLog struct{ list []opening }

// opening is how many connections had been opened by a tick; in what between
// and unexplained return, in the tick that ended then.
type opening struct {
	at time.Duration
	n  uint64
}

// add notes a growth. Without room for it the newest takes the place of the one
// before: its connections seem younger than they are.
func (l *openingLog) add(at time.Duration, opens uint64) {
	if len(l.list) >= maxOpenings {
		l.list = l.list[:maxOpenings-1]
	}
	l.list = append(l.list, opening{at, opens})
}

// between returns the growth from one value to another, tick by tick, and
// forgets what was before.
func (l *openingLog) between(from, to uint64) []opening {
	var grown []opening
	keep := l.list[:0]
	for _, o := range l.list {
		if o.n <= from {
			continue
		}
		keep = append(keep, o)
		if o.n <= to {
			grown = append(grown, opening{o.at, o.n - from})
			from = o.n
		}
	}
	l.list = keep
	return grown
}

// unexplained takes the connections that the tables showed out of all that were
// opened. Of one that has been closed it is known that it was opened before;
// of the others nothing, so they pass for the oldest.
func (v *survey) unexplained(grown []opening) []opening {
	undated := uint64(v.mine + v.others)
	for _, c := range v.fresh {
		if c.closed && takeBefore(grown, c.at+tickEvery) {
			undated--
		}
	}
	var left []opening
	for _, o := range grown {
		n := min(o.n, undated)
		undated -= n
		if o.n -= n; o.n > 0 {
			left = append(left, o)
		}
	}
	return left
}

// takeBefore takes one connection out of the newest tick up to a time.
func takeBefore(grown []opening, at time.Duration) bool {
	for i := len(grown) - 1; i >= 0; i-- {
		if grown[i].at <= at && grown[i].n > 0 {
			grown[i].n--
			return true
		}
	}
	return false
}
