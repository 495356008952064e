package wait

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Sockets is the kernel's view of the pod's TCP sockets.
type Sockets interface {
	// Arrivals yields what has arrived on the ports since the last call, in any order. No ports:
	// every port that something listens on, loopback excepted. What waits in an accept queue
	// arrives anew with every call. If open is not nil it is called for every connection that is
	// open; listed reports whether it was: a source need not look at all of them each time. An error
	// means that the answer is incomplete. Not called concurrently.
	Arrivals(ctx context.Context, ports []uint16, yield func(Arrival), open func(Conn)) (listed bool, err error)
	// Ended reports whether a connection may have ended since the last call of Arrivals. Unlike
	// that it costs next to nothing.
	Ended() bool
}

// Kind is what arrived.
type Kind int

// What can arrive.
const (
	Connection Kind = iota // a connection not seen before
	Request                // data on a connection that was known
	Dropped                // a connection turned away: the accept queue was full
	Lost                   // something, but the kernel's word of what was lost
	Waiting                // a connection that waits in an accept queue
)

func (k Kind) String() string {
	switch k {
	case Connection:
		return "new connection"
	case Request:
		return "request on an open connection"
	case Dropped:
		return "connection dropped by a full accept queue"
	case Waiting:
		return "connection waiting in the accept queue"
	default:
		return "more than could be followed"
	}
}

// Arrival is something that reached a watched port.
type Arrival struct {
	// At is when it arrived; never earlier than it really did.
	At   time.Time
	Kind Kind
	// Conn identifies the connection. 0: unknown.
	Conn uint64
	// Opened, of a Request: the connection was open at this time at the latest. Of a Connection of
	// unknown peer: when it was counted, if that is known.
	Opened time.Time
	// Since, of what waits in a queue: nothing has been accepted from it since then. Zero: unknown.
	Since time.Time
	// Port is the local port. 0: unknown.
	Port uint16
	// Peer is the client, its port 0 if unknown. Invalid: unknown altogether.
	Peer netip.AddrPort
	// Count is how many arrivals this one stands for, at least 1.
	Count int
}

// came is when a connection came, as far as the rhythm of probes can be told from it: data may have
// followed until At.
func (a Arrival) came() time.Time {
	if !a.Peer.IsValid() && !a.Opened.IsZero() {
		return a.Opened
	}
	return a.At
}

// String says what, from whom and to where, as far as it is known.
func (a Arrival) String() string {
	s := a.Kind.String()
	if a.Count > 1 {
		s = fmt.Sprintf("%d times %s", a.Count, s)
	}
	if a.Peer.IsValid() {
		s += " from " + a.Peer.Addr().String()
	}
	if a.Port != 0 {
		s += fmt.Sprintf(" to :%d", a.Port)
	}
	return s
}

// Conn is a connection that is open. The fields mean the same as in an Arrival.
type Conn struct {
	ID     uint64
	Opened time.Time
	Port   uint16
	Peer   netip.AddrPort
}
