package procnet

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// timeWait is how long the kernel remembers a closed connection: TCP_TIMEWAIT_LEN in
// include/net/tcp.h.
const timeWait = 60 * time.Second

// sparing limits passes through the tables to 1/20 of a core, however long these are. If only known
// connections can have sent data, there is no pass for 20 times as long as the last one took.
const sparing = 20

// procSource is the source "proc". Counters of the whole namespace, read on a tick, tell
// whether anything came and when. PassiveOpens counts every connection that is established
// (tcp_create_openreq_child in net/ipv4/tcp_minisocks.c). InSegs less TCPPureAcks counts the
// segments that carry data, or that open or close a connection. The tables are read when
// somebody asks and something has moved. They tell whose connections those were, as far as
// they are still there.
//
// Every connection counts, however short: of 2,500 that live for less than a millisecond,
// at 5,000 a second, it reports 2,500, whoever closes or resets them and also if nobody
// accepts them (TestEveryConnection). Times are exact to a tick, and always the later end of
// it: in 200 trials that ended at random with a window of 500 ms, lull ended 505 to 740 ms
// after the last arrival began (TestTrials). A connection that the server closed has a name
// and the time of its close. One that the client closed or reset is anonymous. All that is
// open has a name, but on which of them a request came is not known.
//
// A pass through the tables takes 4 ms and 2 to 3 µs a row (TestCost). Requests on connections that
// are known to be open are reported without one while the last is recent (sparing): with 200,000
// rows and a window of 5 s, waiting for those takes 3% of a core. Where new connections keep
// coming, to whatever port, there is a pass for each look, and that takes 10% (TestWaiting).
//
// What it cannot know it takes for the watched ports':
//   - a connection to another port that was gone before the look, unless the server closed
//     it;
//   - while a connection is open on a watched port, whatever reaches the namespace and is
//     more than an ACK. It is reported as a request without a name, or with the address if
//     all that are open come from one. Answers to the app's own queries are among that, the
//     ACKs of a long answer (TCPHPAcks counts those together with data) and a client's
//     keepalives. What this process receives is not, unless other data came in the tick
//     before, or more than one segment in the same tick (ownTraffic);
//   - what came while the tables were being read, once more at the next look.
//
// Without a connection on the watched ports on which data may still come, none of the data counts.
type procSource struct {
	base    time.Time // times are counted from here
	sampler *sampler

	mu      sync.Mutex // guards what follows: one call at a time
	tables  *tables
	seed    maphash.Seed
	ports   listening
	known   *known
	queues  map[uint16]Queue // as of the last reading of the tables
	accepts *acceptWatch

	passed      time.Duration // when the last pass through the tables ended
	took        time.Duration // and how long it took
	passedOpen  uint64        // PassiveOpens before that pass
	passedMoves uint64        // and how many segments had moved
	hasListed   bool          // it told which connections are open

	asked  *portSet    // the ports of the last call; nil: none so far
	named  bool        // that call named them
	before sample      // taken before the last pass
	peers  [2]soleAddr // of the connections that it and the one before saw open on the ports
}

func openProc(o options) (*procSource, error) {
	s := &procSource{
		base: time.Now(), tables: newTables(o.procRoot), seed: maphash.MakeSeed(),
		known: newKnown(), queues: make(map[uint16]Queue), accepts: newAcceptWatch(),
	}
	var err error
	if s.sampler, err = startSampler(o.procRoot, s.base); err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	if s.before, err = s.sampler.tick(); err != nil {
		err = fmt.Errorf("proc: %w", err)
	} else {
		s.passedOpen, s.passedMoves = s.before.opens, s.before.moves
		err = s.readTables(context.Background(), &pass{ports: new(portSet)})
		s.accepts.end(s.queues, s.queues, s.queues, &s.ports.all, time.Since(s.base))
	}
	if err != nil {
		s.sampler.Close()
		return nil, err
	}
	return s, nil
}

func (s *procSource) Name() string { return "proc" }

func (s *procSource) Close() error {
	s.sampler.Close()
	s.sampler.fail(errors.New("closed"))
	return nil
}

func (s *procSource) Arrivals(ctx context.Context, ports []uint16, yield func(Arrival), open func(Conn)) (listed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	watched, waited := s.ports.watched(ports), s.accepts.waiting
	if listed, err = s.look(ctx, ports, watched, yield, open); err != nil {
		return false, err
	}
	s.yieldAccepted(watched, waited, yield)
	s.accepts.yield(watched, s.base, s.base.Add(time.Since(s.base)), yield)
	return listed, ctx.Err()
}

// Ended reports whether anything has moved since the last look.
func (s *procSource) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.sampler.tick()
	return err != nil || now.moves != s.passedMoves
}

// look yields what has arrived. It makes a pass through the tables if it has to, and
// reports whether it did.
func (s *procSource) look(ctx context.Context, ports []uint16, watched *portSet, yield func(Arrival), open func(Conn)) (passed bool, err error) {
	before, err := s.sampler.tick()
	if err != nil {
		return false, fmt.Errorf("proc: %w", err)
	}
	last := s.before
	s.ask(ports, watched, yield)
	if before.drops > last.drops {
		yield(Arrival{At: s.base.Add(before.dropsAt), Kind: Dropped, Count: clamp(before.drops - last.drops)})
		s.before.drops = before.drops
	}
	if before.backAt > last.backAt {
		// It has wrapped, or is another's: what it has counted meanwhile is not known.
		yield(Arrival{At: s.base.Add(before.backAt), Kind: Lost, Count: 1})
		s.before.opens, s.before.drops, s.before.backAt = before.opens, before.drops, before.backAt
		last = s.before
	}
	// A queue that was empty stays so without a new connection. One that was not, or is not
	// shown, may have been emptied, and no counter shows that.
	waiting := len(s.accepts.waiting) > 0 || before.hidesQueues()
	list := open != nil && (!s.hasListed || before.moves != s.passedMoves)
	if before.opens == last.opens && before.moves == last.moves && !waiting && !list {
		return false, nil
	}
	carriers, youngest := s.known.countLive(watched)
	peer := s.peers[0].and(s.peers[1])
	request := func(at time.Duration) {
		yield(Arrival{At: s.base.Add(at), Kind: Request, Opened: s.base.Add(youngest), Peer: peer.endpoint(), Count: 1})
	}
	// A connection that was opened during the last pass may wait in a queue that had been
	// read by then.
	sparable := carriers > 0 && before.opens == s.passedOpen && !waiting
	if sparable && !list && before.at-s.passed < sparing*s.took {
		request(before.dataAt)
		s.before.moves = before.moves
		return false, nil
	}
	p := pass{ports: watched, auto: len(ports) == 0, since: last.at, yield: yield, open: open}
	after, err := s.pass(ctx, &p, before, last)
	if err != nil {
		return false, err
	}
	if carriers > 0 && after.moves != last.moves {
		request(after.dataAt)
	}
	return true, nil
}

// pass reads the tables, yields the new connections, and returns the sample after that. before is
// the one before it, last the one before the last pass.
func (s *procSource) pass(ctx context.Context, p *pass, before, last sample) (after sample, err error) {
	if err := s.readTables(ctx, p); err != nil {
		return after, err
	}
	if after, err = s.sampler.tick(); err != nil {
		return after, fmt.Errorf("proc: %w", err)
	}
	s.before, s.passedOpen, s.passedMoves = before, before.opens, before.moves
	s.hasListed = p.open != nil
	// Connections that the tables show for the first time were opened after the sample
	// before the last pass, and before the one after this pass.
	if s.yieldOpened(p, after, s.sampler.openedBetween(last.opens, after.opens)) {
		s.before.opens = after.opens
	}
	s.accepts.end(s.queues, s.queues, s.queues, &s.ports.all, time.Since(s.base))
	lengths := make(map[uint16]uint32, len(s.queues))
	for port, q := range s.queues {
		lengths[port] = q.Len
	}
	s.sampler.accepts.record(lengths, time.Since(s.base))
	return after, nil
}

// yieldAccepted yields what was accepted since the last look after it had waited. If that look saw
// the queue not empty, then the tables tell.
func (s *procSource) yieldAccepted(watched *portSet, waited map[uint16]waitingQueue, yield func(Arrival)) {
	for port, at := range s.sampler.accepts.take() {
		if _, told := waited[port]; !told && watched.has(port) {
			t := s.base.Add(at)
			yield(Arrival{At: t, Kind: Request, Opened: t, Port: port, Count: 1})
		}
	}
}

// ask records which ports are watched. What came to other ports until now was not told
// apart from them.
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

// yieldOpened yields the new connections: grown is what PassiveOpens counted. It reports
// whether the tables showed them all.
func (s *procSource) yieldOpened(p *pass, after sample, grown []opening) (complete bool) {
	newest := max(after.dataAt, after.opensAt)
	seen := newest
	if after.hidesQueues() {
		seen = after.at // they may have waited, and been accepted only now
	}
	for _, c := range p.sights {
		at := seen
		if c.closed {
			at = min(c.at, newest)
		}
		t := s.base.Add(at)
		p.yield(Arrival{At: t, Kind: Connection, Conn: c.id, Opened: t, Port: c.port, Peer: c.peer, Count: 1})
	}
	t := s.base.Add(seen)
	for port, n := range p.more {
		p.yield(Arrival{At: t, Kind: Connection, Opened: t, Port: port, Count: n})
	}
	t = s.base.Add(newest)
	shown, all := uint64(p.mine+p.others), uint64(0)
	for _, o := range grown {
		all += o.n
	}
	for _, o := range p.unexplained(grown) {
		s.accepts.comeUnseen(o.n)
		p.yield(Arrival{At: t, Kind: Connection, Opened: s.base.Add(o.at), Count: clamp(o.n)})
	}
	return all == shown
}

// Queued reads the tables.
func (s *procSource) Queued(ctx context.Context, ports []uint16) ([]Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readQueues(ctx); err != nil {
		return nil, err
	}
	return sortedQueues(s.queues, s.ports.watched(ports)), nil
}
