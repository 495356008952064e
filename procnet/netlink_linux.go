package procnet

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"sync"
	"time"
)

// lateEvents is how long a look waits for the destroy events of connections that died before its
// dump. A workqueue sends them: 50 µs after the close as a rule, 26 ms under load.
//
// That is so from Linux 6.9 on. Before, the workqueue waits for every dump of sockets on the
// machine, as both hold one mutex (inet_diag_table_mutex in net/ipv4/inet_diag.c): 300 ms were seen
// on 6.1. But a dump of ours waits for that mutex too, behind the events that are older. So a look
// dumps the listeners after it has waited, before it reads the events for the last time.
const lateEvents = 50 * time.Millisecond

// veryLateEvents is how long a look waits if it knows that events are missing. The workqueue has
// a worker for each CPU, and other work of the kernel's can keep that busy for longer than
// lateEvents: 0.1 s and more were seen on a machine with ten times as much to do as it has CPUs.
const veryLateEvents = 500 * time.Millisecond

// netlinkSource is the source "netlink". Connections that die report themselves through the destroy
// groups. Those that live are asked, once a look, when they last received data.
type netlinkSource struct {
	base time.Time // times are counted from here
	ends *subscriber

	mu        sync.Mutex // guards what follows: one call at a time
	closed    bool
	dumper    *dumper
	listeners *listeners
	known     *known
	accepts   *acceptWatch
	opens     openCount

	heard *portSet         // the ports whose events were kept since the last call; nil: all
	began [3]time.Duration // when the newest dumps began, newest first
	again bool             // the dump under way is the second of its look
	open  func(Conn)       // for the look under way; may be nil
	first map[uint16]Queue // right before the newest dump of connections
	then  map[uint16]Queue // right after it
	lost  bool             // since the last complete look not every end was reported
	spare []destroyed      // room for the next events
}

func openNetlink(o options) (*netlinkSource, error) {
	base := time.Now()
	// The events come first, so that whatever dies from here on is reported.
	ends, err := subscribe(o.receiveBuffer, base)
	if err != nil {
		return nil, err
	}
	dumper, err := openDumper()
	if err != nil {
		_ = ends.Close()
		return nil, err
	}
	c, _ := openCounters(o.procRoot) // it can do without /proc
	s := &netlinkSource{
		base: base, ends: ends, dumper: dumper, listeners: newListeners(c), known: newKnown(),
		accepts: newAcceptWatch(), opens: openCount{counters: c},
	}
	if err := s.start(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// start records the listeners, and the connections that are open already, which are no news.
func (s *netlinkSource) start() error {
	ctx := context.Background()
	if err := s.dumpListeners(ctx); err != nil {
		return err
	}
	all := s.listeners.ports.all
	if err := s.dumpConnections(ctx, &all, func(Arrival) {}); err != nil {
		return err
	}
	s.accepts.end(s.listeners.queues, s.listeners.queues, s.listeners.queues, &all, s.now())
	s.opens.end(true, s.listeners.queues, &all)
	return nil
}

func (s *netlinkSource) Name() string { return "netlink" }

func (s *netlinkSource) Close() error {
	err := s.ends.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return cmp.Or(err, s.dumper.Close())
}

func (s *netlinkSource) now() time.Duration { return time.Since(s.base) }

func (s *netlinkSource) Queued(ctx context.Context, ports []uint16) ([]Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.dumpListeners(ctx); err != nil {
		return nil, err
	}
	return sortedQueues(s.listeners.queues, s.listeners.ports.watched(ports)), nil
}

func (s *netlinkSource) Arrivals(ctx context.Context, ports []uint16, yield func(Arrival), open func(Conn)) (listed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = open
	defer func() { s.open = nil }()
	s.opens.begin()
	if err := s.dumpListeners(ctx); err != nil {
		return false, err
	}
	watched := s.listeners.ports.watched(ports)
	s.opens.recordListeners(s.listeners.queues, watched)
	s.watch(ports, watched, yield)
	if err := s.yieldEnded(watched, yield); err != nil {
		return false, err
	}
	if err := s.look(ctx, watched, yield); err != nil {
		return false, err
	}
	// A dump that has to stop inside a bucket of the hash goes on behind as many sockets
	// as it had handed over. So it can miss one if another has left the bucket meanwhile
	// (inet_diag_dump_icsk in net/ipv4/inet_diag.c, tcp_diag_dump in net/ipv4/tcp_diag.c
	// of newer kernels). A second dump will hardly miss the same one.
	if !s.lost && s.known.missedAny(watched) {
		s.again = true
		err := s.look(ctx, watched, yield)
		s.again = false
		if err != nil {
			return false, err
		}
		s.yieldVanished(watched, yield)
	}
	if err := s.yieldUntraced(ctx, watched, yield); err != nil {
		return false, err
	}
	s.known.sweep(0)
	s.yieldDropped(watched, yield)
	s.accepts.end(s.first, s.then, s.listeners.queues, watched, s.now())
	s.accepts.yield(watched, s.base, s.base.Add(s.now()), yield)
	s.lost = false
	return true, nil
}

// watch says which ports' events are wanted from now on. If a port's events were not
// wanted so far, some may have been missed.
func (s *netlinkSource) watch(asked []uint16, watched *portSet, yield func(Arrival)) {
	s.ends.want(watched, len(asked) == 0)
	if s.heard != nil {
		for p := range watched.without(s.heard) {
			s.lost = true
			yield(Arrival{At: s.base.Add(s.now()), Kind: Lost, Port: p, Count: 1})
		}
	}
	s.heard = nil
	if len(asked) > 0 {
		s.heard = watched
	}
}

// look dumps the open connections, and yields those that died before the dump came to them.
func (s *netlinkSource) look(ctx context.Context, watched *portSet, yield func(Arrival)) error {
	s.first = maps.Clone(s.listeners.queues)
	if err := s.dumpConnections(ctx, watched, yield); err != nil {
		return err
	}
	if err := s.dumpListeners(ctx); err != nil {
		return err
	}
	s.then = maps.Clone(s.listeners.queues)
	if err := sleep(ctx, lateEvents); err != nil {
		return err
	}
	if err := s.dumpListeners(ctx); err != nil {
		return err
	}
	return s.yieldEnded(watched, yield)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// dumpListeners reads the listening sockets.
func (s *netlinkSource) dumpListeners(ctx context.Context) error {
	if s.closed {
		return fmt.Errorf("netlink: %w", os.ErrClosed)
	}
	return twice(ctx, func() error { return s.listeners.dump(ctx, s.dumper) })
}

// dumpConnections dumps the open connections and yields what is news.
func (s *netlinkSource) dumpConnections(ctx context.Context, ports *portSet, yield func(Arrival)) error {
	s.known.begin()
	s.accepts.begin()
	s.began = [3]time.Duration{s.now(), s.began[0], s.began[1]}
	if ports.n == 0 {
		return nil
	}
	q := request{ports: ports.list(maxFilterPorts), states: openStates, attr: attrInfo}
	return twice(ctx, func() error {
		return s.dumper.dump(ctx, q, func(r *row) {
			if ports.has(r.sport) {
				s.yieldConnection(r, yield)
			}
		})
	})
}

// Ended looks through the reports that have come since the last look.
func (s *netlinkSource) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends.any(func(d destroyed) bool {
		_, known := s.known.get(d.cookie)
		return known
	})
}
