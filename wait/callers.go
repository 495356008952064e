package wait

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"
)

const (
	// recently is how far back callers remembers, in seconds.
	recently = 10
	// maxTimes bounds the times that are kept of one caller.
	maxTimes = 8
	// leastPeriod is the least that can be a health checker's.
	leastPeriod = 500 * time.Millisecond
	// maxNamed bounds how many callers the story names.
	maxNamed = 3
)

// callers remembers who has held the exit lately, for the story's last line: if the budget runs
// out, that is what a person wants to know.
type callers map[caller]*calls

// caller is an address, and what arrives from it.
type caller struct {
	from netip.Addr // invalid: unknown
	kind Kind
}

// calls are how often it arrived in each of the last seconds, and when lately.
type calls struct {
	counts [recently + 1]struct {
		second int64 // since 1970
		n      int
	}
	times   []time.Time // of the last, oldest first
	several bool        // some of these stand for more than one
}

// record takes in n arrivals, the newest of them at the time.
func (c callers) record(from netip.Addr, kind Kind, at time.Time, n int) {
	who := caller{from, kind}
	if c[who] == nil && len(c) >= maxGroups {
		c.forget(at)
		if len(c) >= maxGroups {
			who.from = netip.Addr{}
		}
	}
	if c[who] == nil {
		c[who] = &calls{}
	}
	c[who].record(at, n)
}

func (c *calls) record(at time.Time, n int) {
	second := at.Unix()
	count := &c.counts[second%int64(len(c.counts))]
	if count.second != second {
		count.second, count.n = second, 0
	}
	count.n += n
	c.several = c.several || n > 1
	if len(c.times) == maxTimes {
		c.times = slices.Delete(c.times, 0, 1)
	}
	c.times = append(c.times, at)
}

// since counts those that came in the last seconds.
func (c *calls) since(now time.Time) (n int) {
	for _, count := range c.counts {
		if now.Unix()-count.second <= recently {
			n += count.n
		}
	}
	return n
}

// forget drops those that have not called recently.
func (c callers) forget(now time.Time) {
	for who, calls := range c {
		if calls.since(now) == 0 {
			delete(c, who)
		}
	}
}

// period is the time between calls that come regularly, within a tenth of it; false if they don't.
func (c *calls) period() (time.Duration, bool) {
	n := len(c.times)
	if n < rhythmic || c.several {
		return 0, false
	}
	mean := c.times[n-1].Sub(c.times[0]) / time.Duration(n-1)
	for i := 1; i < n; i++ {
		if !fits(c.times[i].Sub(c.times[i-1]), mean) {
			return 0, false
		}
	}
	return mean, mean >= leastPeriod
}

// lately lists those that have called recently, most first, without the addresses that isProbe
// reports. If there is only one, and it calls regularly as a health checker does, regular is its
// address.
func (c callers) lately(now time.Time, isProbe func(netip.Addr) bool) (list string, regular netip.Addr) {
	c.forget(now)
	var all []caller
	for who := range c {
		if who.kind != Connection || !isProbe(who.from) {
			all = append(all, who)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		return cmp.Or(c[b].since(now)-c[a].since(now), a.from.Compare(b.from), int(a.kind-b.kind)) < 0
	})
	var parts []string
	for _, who := range all[:min(len(all), maxNamed)] {
		n := c[who].since(now)
		part := fmt.Sprintf("%d %s", n, who.kind.plural(n))
		if who.from.IsValid() {
			part += " from " + who.from.String()
		}
		if period, ok := c[who].period(); ok {
			part += ", one every " + secs(period)
			if len(all) == 1 {
				regular = who.from
			}
		}
		parts = append(parts, part)
	}
	if rest := len(all) - maxNamed; rest > 0 {
		parts = append(parts, fmt.Sprintf("others from %d more", rest))
	}
	return strings.Join(parts, "; "), regular
}

// plural is the kind's name for so many.
func (k Kind) plural(n int) string {
	one, many := k.String(), ""
	switch k {
	case Connection:
		many = "new connections"
	case Request:
		one, many = "request on an open connection", "requests on open connections"
	case Dropped:
		many = "connections dropped by a full accept queue"
	case Waiting:
		many = "connections waiting in the accept queue"
	default:
		many = one
	}
	if n == 1 {
		return one
	}
	return many
}
