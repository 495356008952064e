package wait

import (
	"net/netip"
	"time"
)

// Stage is what the hook is waiting for.
type Stage int

// The stages follow each other in this order.
const (
	Removal  Stage = iota + 1 // the pod to leave rotation
	Handover                  // another endpoint to become ready
	Lull                      // the quiet window to pass
	Closing                   // open connections to end
)

func (s Stage) String() string {
	return [...]string{"", "removal", "handover", "lull", "closing"}[s]
}

// Reason is why the hook ended.
type Reason int

// A hook ends for one of these.
const (
	Quiet       Reason = iota + 1 // nothing has arrived for the quiet window
	Slept                         // the sockets could not be seen, it slept instead
	Restart                       // the pod stays in rotation whatever the hook does
	Budget                        // the budget ran out first
	Interrupted                   // the context was cancelled
	Alone                         // out of rotation for the window, and nobody else can take the traffic
	StillOpen                     // quiet, but more than MaxOpen connections were open to the budget's end
)

func (r Reason) String() string {
	return [...]string{"", "quiet", "slept", "restart", "budget", "interrupted", "alone", "still-open"}[r]
}

// Outcome tells how a wait went. Durations count from its start.
type Outcome struct {
	Reason Reason
	// Stage is the one that the hook was in when it ended.
	Stage Stage
	// Held is how long SIGTERM was held back, Budget how long it could have been.
	Held, Budget time.Duration
	// Left is when the pod left rotation, Handed when another endpoint was ready or none was
	// awaited. Negative: never.
	Left, Handed time.Duration
	// Last is the newest arrival that counted. Kind and the rest are meaningless while At is zero.
	Last Arrival
	// Pinned counts the connections that were still in use when they stopped counting, at the last
	// look.
	Pinned int
	// Open counts the connections that were open at the last look.
	Open int
	// Ignored tells what arrived and did not count, and why.
	Ignored []Ignored
	// Missing names what the hook could not see, and what it did instead.
	Missing []string
}

// Ignored is a group of arrivals that did not count.
type Ignored struct {
	Why   string
	From  netip.Addr // invalid: several or unknown
	Count int
}
