package procnet

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// timeWait is how long the kernel remembers a closed connection:
// TCP_TIMEWAIT_LEN in include/net/tcp.h.
const timeWait = 60 * time.Second

// sparing is how many times longer than it took the last pass through the tables
// counts as recent: data on connections that are known to be open is then reported
// without another. So that costs 5% of a core at most, however long the tables.
const sparing = 20

// procSource is the source "proc". Counters of the whole namespace, read on a
// tick, tell whether anything came and when: PassiveOpens counts every connection
// that is established (tcp_create_openreq_child in net/ipv4/tcp_minisocks.c), InSegs
// less TCPPureAcks counts the segments that carry data, open or close a connection.
// The tables, read when somebody asks and something moved, tell whose connections
// those were, as far as they are still there.
//
// Every connection counts, however short: of 2,500 that live for less than a
// millisecond, at 5,000 a second, it reports 2,500, whoever closes or resets them
// and also if nobody accepts them (TestEveryConnection). Times are exact to a
// tick, and always the later end of it: in 200 trials that ended at random with a
// window of 500 ms, lull ended 505 to 740 ms after the last arrival began
// (TestTrials). A connection that the server closed has a name and the time of its
// close; one that the client closed or reset is anonymous. All that is open has a
// name, but which of them a request came on is not known.
//
// A pass through the tables takes 4 ms and 2 to 3 µs a row (TestCost). Requests on
// connections that are known to be open are reported without one while the last is
// recent (sparing): with 200,000 rows and a window of 5 s, waiting for those takes 3%
// of a core. Where new connections keep coming, to whatever port, there is a pass
// for each look, and that takes 10% (TestWaiting).
//
// What it can't know it takes for the watched ports':
//   - a connection to another port that was gone before the look, unless the
//     server closed it;
//   - while a connection is open on a watched port, whatever reaches the
//     namespace and is more than an ACK: a request on it without a name, or with
//     the address if all that are open come from one. Answers to the app's own
//     queries are among them, what this process receives, the ACKs of a long
//     answer (TCPHPAcks counts those together with data) and a client's
//     keepalives;
//   - what came while the tables were being read, once more at the next look.
//
// Without any connection on the watched ports, none of the data counts.
type procSource struct {
	base    time.Time // times are counted from here
	sampler *sampler

	mu     sync.Mutex // guards what follows: one call at a time
	tables *tables
	seed   maphash.Seed
	ports  listening
	known  *known
	queues map[uint16]Queue // as of the last look at the tables

	looked   bool          // the last call was Arrivals
	listed   uint64        // PassiveOpens before that look
	surveyed time.Duration // when the last pass through the tables ended
	took     time.Duration // and how long it took

	asked    *portSet    // the ports of the last call; nil: none so far
	named    bool        // that call named them
	before   sample      // taken before the last look at the tables
	halfOpen bool        // that look saw a half-open connection
	peers    [2]soleAddr // of the connections that it and the one before saw open on the ports
}

func openProc(o options) (*procSource, error) {
	s := &procSource{
		base: time.Now(), tables: newTables(o.procRoot), seed: maphash.MakeSeed(),
		known: newKnown(), queues: make(map[uint16]Queue),
	}
	var err error
	if s.sampler, err = startSampler(o.procRoot, s.base); err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	if s.before, err = s.sampler.tick(); err == nil {
		s.listed = s.before.opens
		err = s.survey(context.Background(), &survey{ports: new(portSet)})
	}
	if err != nil {
		_ = s.sampler.Close()
		return nil, fmt.Errorf("proc: %w", err)
	}
	return s, nil
}

func (s *procSource) Name() string { return "proc" }

func (s *procSource) Close() error { return s.sampler.Close() }

func (s *procSource) Arrivals(ctx context.Context, ports []uint16, yield func(Arrival)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = true
	before, err := s.sampler.tick()
	if err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	last, watched := s.before, s.ports.watched(ports)
	s.ask(ports, watched, yield)
	if before.drops > last.drops {
		yield(Arrival{At: s.base.Add(before.dropsAt), Kind: Dropped, Count: clamp(before.drops - last.drops)})
		s.before.drops = before.drops
	}
	if before.opens == last.opens && before.moves == last.moves && !s.halfOpen {
		return ctx.Err()
	}
	carriers, youngest := s.known.open(watched)
	peer := s.peers[0].and(s.peers[1])
	request := func(at time.Duration) {
		yield(Arrival{At: s.base.Add(at), Kind: Request, Opened: s.base.Add(youngest), Peer: peer.endpoint(), Count: 1})
	}
	// A connection that was opened during the last pass may wait in a queue that
	// had been read by then.
	sparable := carriers > 0 && before.opens == s.listed && !s.halfOpen
	if sparable && before.at-s.surveyed < sparing*s.took {
		request(before.dataAt)
		s.before.moves = before.moves
		return ctx.Err()
	}
	now := survey{ports: watched, auto: len(ports) == 0, since: last.at, yield: yield}
	if err := s.survey(ctx, &now); err != nil {
		return err
	}
	after, err := s.sampler.tick()
	if err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	s.before, s.listed = before, before.opens
	// Connections that the table shows for the first time were opened after
	// the sample before the last table, and before the one after this table.
	if s.opened(&now, after, s.sampler.openings(last.opens, after.opens), yield) {
		s.before.opens = after.opens
	}
	if carriers > 0 && after.moves != last.moves {
		request(after.dataAt)
	}
	return nil
}

// ask notes which ports are watched. What came to other ports until now was not
// told apart from them.
func (s *procSource) ask(ports []uint16, watched *portSet, yield func(Arrival)) {
	if s.asked != nil && *s.asked != *watched {
		s.peers = [2]soleAddr{{many: true}, {many: true}}
		if s.named || len(ports) > 0 {
			now := s.base.Add(time.Since(s.base))
			for p := range watched.without(s.asked) {
				yield(Arrival{At: now, Kind: Lost, Port: p, Count: 1})
			}
		}
	}
	s.asked, s.named = watched, len(ports) > 0
}

// opened yields the new connections: grown is what PassiveOpens counted. It
// reports whether the tables showed them all.
func (s *procSource) opened(now *survey, after sample, grown []opening, yield func(Arrival)) (complete bool) {
	newest := max(after.dataAt, after.opensAt)
	for _, c := range now.fresh {
		at := newest
		if c.closed {
			at = min(c.at, newest)
		}
		t := s.base.Add(at)
		yield(Arrival{At: t, Kind: Connection, Conn: c.id, Opened: t, Port: c.port, Peer: c.peer, Count: 1})
	}
	t := s.base.Add(newest)
	for port, n := range now.more {
		yield(Arrival{At: t, Kind: Connection, Opened: t, Port: port, Count: n})
	}
	seen, all := uint64(now.mine+now.others), uint64(0)
	for _, o := range grown {
		all += o.n
	}
	for _, o := range now.unexplained(grown) {
		yield(Arrival{At: t, Kind: Connection, Opened: s.base.Add(o.at), Count: clamp(o.n)})
	}
	return all == seen
}

// Queued reads the tables only if a connection may be waiting: queues that were
// empty have stayed so while no segment came. Right after Arrivals it tells what
// that has seen: what came in between is for the next look.
func (s *procSource) Queued(ctx context.Context, ports []uint16) ([]Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.sampler.tick()
	if err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	waiting, looked := false, s.looked
	s.looked = false
	for _, q := range s.queues {
		waiting = waiting || q.Len > 0
	}
	if waiting || !looked && (now.opens != s.before.opens || now.moves != s.before.moves) {
		if err := s.listeners(ctx); err != nil {
			return nil, err
		}
	}
	watched := s.ports.watched(ports)
	var list []Queue
	for port, q := range s.queues {
		if watched.has(port) {
			list = append(list, q)
		}
	}
	slices.SortFunc(list, func(a, b Queue) int { return int(a.Port) - int(b.Port) })
	return list, nil
}

func clamp(n uint64) int { return int(min(n, 1<<31-1)) }
