// Package procnet is the kernel's view of a pod's TCP sockets: what has arrived on the
// watched ports, when, and what waits in their accept queues.
//
// It looks back instead of polling. A table of connections, read ten times a second, shows hardly
// any of those that live for a millisecond, and reading it makes the kernel walk the hash of the
// whole machine. So procnet subscribes to what cannot be seen later, and asks for the rest when
// somebody wants to know: the kernel remembers when each connection last received data.
//
// There are two sources. "netlink" sees every connection with its peer, once. "proc" serves where
// seccomp or a foreign kernel refuses netlink. It counts for the whole network namespace, and may
// take other traffic for that of the watched ports, never the other way round. Their files:
//
//   - netlink_linux.go is the first source; netlink_arrivals says what is news, _opens and
//     _goodbye help it. Connections that end report themselves to netlink_subscriber and _events.
//   - netlink_dump, _request, _filter, _message, _listeners: those that live are asked.
//   - proc.go is the second source. proc_sampler reads the namespace's counters on a tick, less
//     proc_own, and proc_accepts the accept queues; proc_pass, _openings and _table tell whose
//     connections those were.
//   - known, ports, queues and counters serve both. route.go finds the node as the pod sees it.
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

// clockStep is by how much a time given by the kernel may be too old. It counts
// tcpi_last_data_recv in jiffies: 1 to 10 ms, depending on CONFIG_HZ.
const clockStep = 10 * time.Millisecond

// Source tells what has arrived on the watched ports since the last time somebody asked.
// Its methods may be called from several goroutines; they take turns.
type Source interface {
	// Name is "netlink" or "proc".
	Name() string

	// Arrivals calls yield, in no particular order, for everything that arrived on the
	// ports since the last call; since Open, for the first. It also yields what waits in
	// their accept queues now, at every call. No ports: every port that has, or at an
	// earlier look had, a listener not bound to loopback alone. If a port was not watched
	// by the previous call, one Lost is reported for it, because its events were not kept.
	//
	// An error means that the answer is incomplete: what was yielded is true, but there
	// may be more. ctx's error is returned if it ends first.
	//
	// A call makes the kernel walk the machine's connection hash (below 1 ms, and 1.5 to 2 µs for
	// each connection on the ports), and with netlink it waits 50 ms for events that are late. With
	// proc it costs 0.2 ms while no segment reaches the namespace, else 4 ms, and 2 to 3 µs for
	// each connection of the namespace. README.md has the figures.
	//
	// If open is not nil, it is called for every connection that is open on the ports. With
	// proc a call that need not read the tables does not: then listed is false.
	Arrivals(ctx context.Context, ports []uint16, yield func(Arrival), open func(Conn)) (listed bool, err error)

	// Ended reports whether a connection that the last call of Arrivals knew may have ended
	// since. It costs some microseconds.
	Ended() bool

	// Queued returns the accept queues of the listeners on the ports, by port, also those
	// that are empty. The sockets of a port (SO_REUSEPORT, two families) are summed. No
	// ports means the same as for Arrivals.
	Queued(ctx context.Context, ports []uint16) ([]Queue, error)

	// Close ends the source's goroutine and returns when it has ended. A second call does nothing.
	Close() error
}

// Kind is what arrived.
type Kind uint8

// What can arrive.
const (
	Connection Kind = iota // a connection not seen before; a half-open one once more if it completes
	Request                // data on a connection already known, or one that waited was accepted, or may have
	Dropped                // an accept queue was full: a connection was turned away
	Lost                   // something arrived, or may have; what the kernel had to say was lost
	Waiting                // connections are in an accept queue now, of whatever age
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
	case Waiting:
		return "waiting"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Arrival is something that reached a watched port.
type Arrival struct {
	// At is when the connection's newest byte arrived, or, without any, the connection
	// itself. It may be later than the truth, never earlier and never in the future: by
	// the kernel's clock step, for a connection that has ended by 20 ms more, and with
	// proc by a tick of 0.1 s. Of Waiting it is the time of the look.
	At   time.Time
	Kind Kind
	// Conn identifies the connection among those of the same source: the socket cookie,
	// or (proc) a hash of its addresses. 0: unknown.
	Conn uint64
	// Opened, of a Request, is when a look first saw the connection, in steps of 0.1 s: it was open
	// by then. Of a Connection of unknown peer (proc) it is the tick that counted it, while At
	// allows for data since. Of Waiting it is zero. Of any other it equals At.
	Opened time.Time
	// Port is the local port. 0: unknown.
	Port uint16
	// Peer is the client, IPv4 even where the socket is IPv6. Port 0: only the address is
	// known. Invalid: unknown.
	Peer netip.AddrPort
	// Count is how many connections or drops this one stands for, at least 1.
	Count int
	// Since, of Waiting: nothing has been accepted from the port's queues since then, as far
	// as looks could tell. It is the time of the first look that found the queue not empty
	// after the last sign of an accept.
	Since time.Time
}

// twice calls f, and if that fails once more: what cannot be read now can perhaps be read a
// moment later.
func twice(ctx context.Context, f func() error) error {
	err := f()
	if err != nil && ctx.Err() == nil {
		err = f()
	}
	return err
}

func clamp(n uint64) int { return int(min(n, 1<<31-1)) }

// Conn is a connection that is open: neither side has closed it, or the client alone. The
// fields mean the same as in an Arrival.
type Conn struct {
	ID     uint64
	Opened time.Time
	Port   uint16
	Peer   netip.AddrPort
}

// Queue is the accept queue of a port.
type Queue struct {
	Port    uint16
	Len     uint32 // connections that the app has not accepted yet
	Backlog uint32 // how many it holds, as given to listen(2); 0: unknown
}

// options are what tests change about a source.
type options struct {
	procRoot      string
	receiveBuffer int // in bytes, for the destroy events; net.core.rmem_max limits it
}

func defaults() options { return options{procRoot: "/proc", receiveBuffer: 4 << 20} }
