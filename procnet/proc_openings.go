package procnet

import "time"

// maxOpenings limits the ticks that are told apart: 7 minutes of them.
const maxOpenings = 4096

// openingLog remembers the ticks at which PassiveOpens had grown, and to what.
type openingLog struct{ list []total }

// total is how many connections had been opened by a tick, in all.
type total struct {
	at time.Duration
	n  uint64
}

// opening is how many connections were opened in the tick that ended then.
type opening struct {
	at time.Duration
	n  uint64
}

// add records a growth. Without room for it, the newest takes the place of the one
// before: its connections seem younger than they are.
func (l *openingLog) add(at time.Duration, opens uint64) {
	if len(l.list) >= maxOpenings {
		l.list = l.list[:maxOpenings-1]
	}
	l.list = append(l.list, total{at, opens})
}

// between returns the growth from one total to another, tick by tick, and forgets what was before.
func (l *openingLog) between(from, to uint64) []opening {
	var grown []opening
	keep := l.list[:0]
	for _, t := range l.list {
		if t.n <= from {
			continue
		}
		keep = append(keep, t)
		if t.n <= to {
			grown = append(grown, opening{t.at, t.n - from})
			from = t.n
		}
	}
	l.list = keep
	return grown
}
