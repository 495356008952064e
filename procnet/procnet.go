// Package procnet is the kernel's view of a pod's TCP sockets: what has arrived
// on the watched ports, when, and what waits in their accept queues.
//
// It looks back instead of polling. A table of connections, read ten times a
// second, shows hardly any of those that live for a millisecond, and reading it
// makes the kernel walk the hash of the whole machine. So what can't be seen
// later is subscribed to, and the rest is asked when somebody wants to know:
// the kernel remembers when each connection last received data.
//
// There are two sources. "netlink" sees every connection with its peer, once;
// "proc" serves where seccomp or a foreign kernel refuses netlink: it counts
// for the whole network namespace and may take other traffic for that of the
// watched ports, never the other way round.
package procnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrUnsupported is the error of Open where there is no Linux kernel to ask.
var ErrUnsupported = errors.New("sockets need Linux")

// Source answers two questions about the watched ports: what has arrived since
// the last time somebody asked, and what is queued. Its methods may be called
// from several goroutines; they take turns.
type Source interface {
	// Name is "netlink" or "proc".
	Name() string

	// Arrivals calls yield, in no particular order, for everything that
	// arrived on the ports since the last call; since Open, for the first. No
	// ports: every port that has, or at an earlier look had, a listener not
	// bound to loopback alone. A port that explicit ports of the last call
	// left out is reported as Lost once, since nobody was listening for it; so
	// is one that is named for the first time.
	//
	// An error means that the answer is incomplete: what was yielded is true,
	// but there may be more. ctx's error is returned if it ends first.
	//
	// A call costs 0.2 ms while no segment reaches the namespace. Otherwise
	// it makes the kernel walk the machine's connection hash (below 1 ms, and 1.5
	// to 2 µs for each connection on the ports; proc: 4 ms, and 2 to 3 µs for each
	// of the namespace), and with netlink it waits 50 ms for events that are late.
	// README.md has the figures.
	Arrivals(ctx context.Context, ports []uint16, yield func(Arrival)) error

	// Queued returns the accept queues of the listeners on the ports, by port;
	// the sockets of a port (SO_REUSEPORT, two families) are summed. No ports
	// means the same as for Arrivals. With proc, the first call after Arrivals
	// tells what that has seen.
	Queued(ctx context.Context, ports []uint16) ([]Queue, error)

	// Close ends the source's goroutine and returns when it has ended.
	Close() error
}

// Kind is what arrived.
type Kind uint8

// What can arrive.
const (
	Connection Kind = iota // a connection not seen before
	Request                // data on a connection already known
	Dropped                // an accept queue was full: somebody was turned away
	Lost                   // something arrived, or may have; the kernel's word of what was lost
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Connection:
		return "connection"
	case Request:
		return "request"
	case Dropped:
		return "dropped"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Arrival is something that reached a watched port.
type Arrival struct {
	// At is when the connection's newest byte arrived, or, without any, the
	// connection itself. It may be later than the truth, never earlier and never
	// in the future: by the kernel's clock step, for a connection that has ended
	// by 20 ms more, and with proc by a tick of 0.1 s.
	At   time.Time
	Kind Kind
	// Conn identifies the connection among those of the same source: the socket
	// cookie, or (proc) a hash of its addresses. 0: unknown.
	Conn uint64
	// Opened, of a Request: the connection was open at this time at the latest,
	// for that was when a look first saw it, in steps of 0.1 s. Of a Connection
	// of unknown peer (proc) it is the tick that counted it, while At allows for
	// data since. Of any other it equals At.
	Opened time.Time
	// Port is the local port. 0: unknown.
	Port uint16
	// Peer is the client, IPv4 even where the socket is IPv6. Port 0: only the
	// address is known. Invalid: unknown.
	Peer netip.AddrPort
	// Count is how many connections or drops this one stands for, at least 1.
	Count int
}

// Queue is the accept queue of a port.
type Queue struct {
	Port    uint16
	Len     uint32 // connections that the app has not accepted yet
	Backlog uint32 // how many it holds, as given to listen(2); 0: unknown
}

// Option changes how Open opens a source.
type Option func(*options)

type options struct {
	procRoot      string
	receiveBuffer int
}

func optionsOf(opts []Option) options {
	o := options{procRoot: "/proc", receiveBuffer: 4 << 20}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// ProcRoot reads dir instead of /proc.
func ProcRoot(dir string) Option {
	return func(o *options) { o.procRoot = dir }
}

// ReceiveBuffer asks for a receive buffer of so many bytes for the destroy
// events, instead of 4 MiB. The kernel caps it at net.core.rmem_max.
func ReceiveBuffer(bytes int) Option {
	return func(o *options) { o.receiveBuffer = bytes }
}
