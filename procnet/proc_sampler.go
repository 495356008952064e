package procnet

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// tickEvery is how exactly the source "proc" knows when something came.
	tickEvery = 100 * time.Millisecond

	// readings is how often a tick tries to read its two files with nothing arriving in between.
	readings = 3

	// settle is how long a segment may have been counted in InSegs before its socket has
	// taken it in: a socket that its owner has locked takes it from a backlog later
	// (tcp_v4_rcv in net/ipv4/tcp_ipv4.c).
	settle = 50 * time.Millisecond
)

// sampler reads the namespace's counters ten times a second and remembers when each last
// moved. BenchmarkTick shows what a tick costs.
type sampler struct {
	base    time.Time
	stop    context.CancelFunc
	done    chan struct{} // closed when the goroutine has ended
	accepts *acceptLog    // of the goroutine

	mu         sync.Mutex // guards what follows
	counters   *counters
	hasNetstat bool
	last       sample
	settled    bool // netstat was read a while after InSegs had stopped
	torn       bool // the last reading was inexact
	moved      bool // so it showed that something had come, or may have
	openings   openingLog
	own        *ownTraffic
	listening  portSet // ports on which no connection is this process's own
	err        error
}

// sample is what the counters said, and when each had last moved by then.
type sample struct {
	at    time.Duration // when it was taken, since the source was opened
	opens uint64        // PassiveOpens: connections accepted by the kernel
	segs  uint64        // InSegs: segments that reached the namespace
	acks  uint64        // TCPPureAcks: those that were nothing but an ACK
	drops uint64        // ListenDrops: connections turned away
	moves uint64        // ticks at which data moved that is not known to be this process's own

	ownAcks, ownData uint64 // since the sample before: of the segments, this process's own

	opensAt, segsAt, dataAt, dropsAt time.Duration
	backAt                           time.Duration // when PassiveOpens or ListenDrops was lower than before
}

// data counts the segments that are more than an ACK.
func (s sample) data() uint64 { return s.segs - s.acks }

// hidesQueues reports whether accept queues may be invisible: gVisor's own network stack gives the
// lengths of all as 0, and no row to a connection in one (commonGenerateTCP in its
// pkg/sentry/fsimpl/proc/task_net.go). It has no counts in netstat either. On Linux no connection
// is opened without a pure ACK, but for one whose first data come with it.
func (s sample) hidesQueues() bool { return s.acks == 0 && s.opens > 0 }

// explained reports whether this process's own connections have received all the data that
// has come since the sample before: either as many segments of data, or as many segments in
// all. The second counts ACKs too, since TCPPureAcks leaves out those that the kernel takes in
// on its fast path (tcp_ack in net/ipv4/tcp_input.c counts them in TCPHPAcks).
func (s sample) explained(before sample) bool {
	segs, data := s.segs-before.segs, s.data()-before.data()
	return s.segs >= before.segs && (data <= s.ownData || segs <= s.ownData+s.ownAcks)
}

// startSampler fails if there is no InSegs or PassiveOpens: without them a short
// connection would leave no trace.
func startSampler(procRoot string, base time.Time) (*sampler, error) {
	s := &sampler{base: base, done: make(chan struct{}), accepts: newAcceptLog(procRoot)}
	var err error
	if s.counters, err = openCounters(procRoot); err != nil {
		return nil, err
	}
	s.own = newOwnTraffic(s.counters.files)
	tcp, err := s.counters.tcp()
	if err == nil && !tcp.counts {
		err = errors.New("net/snmp: the counters do not count")
	}
	if err != nil {
		return nil, err
	}
	// Some sandboxes have only the names in netstat, and procfs takes that for an error.
	// Without TCPPureAcks every segment counts as data.
	_, err = s.counters.tcpExt()
	s.hasNetstat = err == nil
	if _, err = s.tick(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.run(ctx)
	return s, nil
}

func (s *sampler) run(ctx context.Context) {
	defer close(s.done)
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	var opens uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if now, err := s.tick(); err == nil { // an error is kept for the next look
				s.accepts.tick(ctx, now.at, now.opens != opens)
				opens = now.opens
			}
		}
	}
}

// Close ends the goroutine. A second call does nothing.
func (s *sampler) Close() {
	s.stop()
	<-s.done
}

// listens says that something listens on the port.
func (s *sampler) listens(port uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listening.add(port)
}

// fail makes every further tick an error.
func (s *sampler) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// tick reads the counters. The error of any tick is final.
func (s *sampler) tick() (sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.last, s.err
	}
	now := time.Since(s.base)
	var next sample
	var torn bool
	err := twice(context.Background(), func() (err error) {
		next, torn, err = s.read()
		return err
	})
	if err != nil {
		s.err = err
		return s.last, err
	}
	last := s.last
	next.segsAt = last.segsAt
	if next.segs != last.segs || torn {
		next.segsAt, s.settled = time.Since(s.base), false
	}
	s.settled = s.settled || now-next.segsAt >= settle
	next.at = time.Since(s.base)
	next.opensAt, next.dataAt, next.dropsAt, next.moves = last.opensAt, last.dataAt, last.dropsAt, last.moves
	if next.backAt = last.backAt; next.opens < last.opens || next.drops < last.drops {
		next.backAt = next.at
	}
	if next.opens != last.opens {
		next.opensAt = next.at
		s.openings.add(next.at, next.opens)
	}
	// After an inexact reading, a pure ACK that was counted late can hide a segment of data.
	moved := next.data() != last.data() || torn || s.torn
	// Just after other data came, this process's own could be counted in InSegs at one tick
	// and by its socket at the next, and hide a segment there.
	if moved && !torn && !s.torn && !s.moved && next.explained(last) {
		moved = false
	}
	if moved {
		next.dataAt = next.at
		next.moves++
	}
	s.moved = moved || s.moved && !s.settled
	if next.drops != last.drops {
		next.dropsAt = next.at
	}
	s.last, s.torn = next, torn
	return next, nil
}

// openedBetween tells when the connections were opened that took PassiveOpens from one value to
// another. What was before that is forgotten.
func (s *sampler) openedBetween(from, to uint64) []opening {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openings.between(from, to)
}

// read reads both files. The reading is torn if segments kept coming in between, so that
// InSegs and TCPPureAcks are not of the same moment.
func (s *sampler) read() (r sample, torn bool, err error) {
	tcp, err := s.counters.tcp()
	if err != nil {
		return r, false, err
	}
	r = sample{opens: tcp.opens, segs: tcp.segs, acks: s.last.acks, drops: s.last.drops}
	// Nothing in netstat moves without a segment.
	if !s.hasNetstat || s.settled && tcp.segs == s.last.segs {
		return r, false, nil
	}
	for range readings {
		ext, err := s.counters.tcpExt()
		if err != nil {
			return r, false, err
		}
		acks, data := s.own.read(&s.listening)
		r.ownAcks, r.ownData = r.ownAcks+acks, r.ownData+data
		r.segs, r.acks, r.drops = tcp.segs, ext.pureAcks, ext.drops
		if tcp, err = s.counters.tcp(); err != nil {
			return r, false, err
		}
		r.opens = tcp.opens
		if tcp.segs == r.segs {
			return r, false, nil
		}
	}
	return r, true, nil
}
