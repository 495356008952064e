package procnet

import (
	"iter"
	"time"
)

const (
	// maxKnown limits the memory for connections to 13 MiB (TestKnownIsBounded prints it). A
	// connection that finds no room is new again to each look that shows it, as of when its newest
	// data came. So nobody can tell that it is old, and whatever comes on it holds the exit.
	maxKnown = 1 << 18

	// openedStep is the resolution of Arrival.Opened. Callers group requests by
	// it, so that the connections that one look saw first form a few groups.
	openedStep = 100 * time.Millisecond
)

// known remembers the connections that looks have seen, and when each was first seen. A
// look marks what it finds and forgets the rest.
type known struct {
	conns map[uint64]sighting
	look  uint16 // number of the look under way
}

// lookMask is how far looks are counted before they start over.
const lookMask = 1<<(16-conditionBits) - 1

// sighting is 12 bytes, so that an entry of the map is 24.
type sighting struct {
	first uint32 // when a look first saw it, in openedSteps since the source was opened, rounded up
	port  uint16
	look  uint16 // the last look that saw it, and below that its condition then
	volume
}

// condition is what a connection was like when it was last seen.
type condition uint16

const (
	live     condition = 1 << iota // it could carry requests
	waits                          // in an accept queue
	halfOpen                       // its handshake was not complete
	answered                       // the app had the last word

	conditionBits = iota
)

func newKnown() *known {
	return &known{conns: make(map[uint64]sighting)}
}

// begin starts a look: nothing is marked.
func (k *known) begin() {
	k.look = (k.look + 1) & lookMask
}

// mark records that the look under way saw a connection, at now after the source was
// opened. It returns what was known of it before.
func (k *known) mark(id uint64, now time.Duration, port uint16, is condition, v volume) (before sighting, ok bool) {
	before, ok = k.conns[id]
	s := before
	switch {
	case !ok && k.full():
		return before, false
	case !ok, is&live != 0 && !before.live(): // new, complete, or the same addresses once more
		s = sighting{first: steps(now), port: port}
	}
	s.look, s.volume = k.look<<conditionBits|uint16(is), v
	k.conns[id] = s
	return before, ok
}

func (k *known) get(id uint64) (sighting, bool) {
	s, ok := k.conns[id]
	return s, ok
}

func (k *known) forget(id uint64) { delete(k.conns, id) }

// missed yields the connections on the ports that the look under way should have seen. A
// half-open one that is gone was given up: that is no news.
func (k *known) missed(ports *portSet) iter.Seq2[uint64, sighting] {
	return func(yield func(uint64, sighting) bool) {
		for id, s := range k.conns {
			if s.live() && !k.marked(s) && ports.has(s.port) && !yield(id, s) {
				return
			}
		}
	}
}

// missedAny reports whether there are any.
func (k *known) missedAny(ports *portSet) bool {
	for range k.missed(ports) {
		return true
	}
	return false
}

// sweep forgets connections that none of the last 1+spare looks has seen.
func (k *known) sweep(spare int) {
	for id, s := range k.conns {
		if k.ago(s) > spare {
			delete(k.conns, id)
		}
	}
}

func (k *known) full() bool { return len(k.conns) >= maxKnown }

// countLive is how many of the connections on the ports could carry requests when last
// seen, and when the youngest of them was first seen.
func (k *known) countLive(ports *portSet) (n int, youngest time.Duration) {
	for _, s := range k.conns {
		if s.live() && ports.has(s.port) {
			n++
			youngest = max(youngest, s.firstSeen())
		}
	}
	return n, youngest
}

// ago is how many looks before the one under way it was last seen.
func (k *known) ago(s sighting) int { return int((k.look - s.look>>conditionBits) & lookMask) }

// marked reports whether the look under way has seen it.
func (k *known) marked(s sighting) bool { return k.ago(s) == 0 }

// live reports whether the connection could carry requests when last seen.
func (s sighting) live() bool { return condition(s.look)&live != 0 }

// waited reports whether it was in an accept queue when last seen.
func (s sighting) waited() bool { return condition(s.look)&waits != 0 }

// answered reports whether the app had the last word when it was last seen.
func (s sighting) answered() bool { return condition(s.look)&answered != 0 }

// halfOpen reports whether its handshake was not complete when last seen.
func (s sighting) halfOpen() bool { return condition(s.look)&halfOpen != 0 }

// firstSeen is when a look first saw it, counted from when the source was opened.
func (s sighting) firstSeen() time.Duration { return time.Duration(s.first) * openedStep }

func steps(d time.Duration) uint32 {
	return uint32((d + openedStep - 1) / openedStep)
}
