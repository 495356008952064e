package procnet

import (
	"cmp"
	"fmt"
	"sync"
	"time"
)

const (
	// tickEvery is how exactly the source "proc" knows when something came.
	tickEvery = 100 * time.Millisecond

	// readings is how often a tick tries to read its two files with nothing
	// arriving in between.
	readings = 3
)

// sampler reads the namespace's counters ten times a second and remembers when
// each last moved. It costs 60 to 85 µs a tick (BenchmarkTick).
type sampler struct {
	base time.Time
	stop chan struct{}
	done chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards what follows
	snmp    *counterFile
	netstat *counterFile // nil: there is none
	last    sample
	torn    bool // the last reading was inexact
	opened  openingLog
	err     error
	values  [3]uint64
}

// sample is what the counters said, and when each had last moved by then.
type sample struct {
	at    time.Duration // when it was taken, since the source was opened
	opens uint64        // PassiveOpens: connections accepted by the kernel
	data  uint64        // InSegs - TCPPureAcks: segments that are more than an ACK
	drops uint64        // ListenDrops: connections turned away
	moves uint64        // ticks at which data moved

	opensAt, dataAt, dropsAt time.Duration
}

// startSampler fails if there is no InSegs or PassiveOpens: without them a short
// connection would leave no trace.
func startSampler(procRoot string, base time.Time) (*sampler, error) {
	s := &sampler{base: base, stop: make(chan struct{}), done: make(chan struct{})}
	var err error
	if s.snmp, err = openCounters(procRoot, "snmp", "Tcp:", "PassiveOpens", "InSegs"); err != nil {
		return nil, err
	}
	s.netstat, _ = openCounters(procRoot, "netstat", "TcpExt:", "TCPPureAcks", "ListenDrops", "ListenOverflows")
	if _, err = s.tick(); err != nil {
		_ = s.closeFiles()
		return nil, err
	}
	go s.run()
	return s, nil
}

func (s *sampler) run() {
	defer close(s.done)
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			_, _ = s.tick() // an error is kept for the next look
		}
	}
}

func (s *sampler) Close() error {
	close(s.stop)
	<-s.done
	return s.closeFiles()
}

func (s *sampler) closeFiles() error {
	err := s.snmp.Close()
	if s.netstat != nil {
		err = cmp.Or(err, s.netstat.Close())
	}
	return err
}

// tick reads the counters. The error of any tick is final.
func (s *sampler) tick() (sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.last, s.err
	}
	next, torn, err := s.read()
	if err != nil {
		s.err = err
		return s.last, err
	}
	next.at = time.Since(s.base)
	last := s.last
	next.opensAt, next.dataAt, next.dropsAt, next.moves = last.opensAt, last.dataAt, last.dropsAt, last.moves
	if next.opens != last.opens {
		next.opensAt = next.at
		s.opened.add(next.at, next.opens)
	}
	// After an inexact reading, a pure ACK that was counted late can hide a
	// segment of data.
	if next.data != last.data || torn || s.torn {
		next.dataAt = next.at
		next.moves++
	}
	if next.drops != last.drops {
		next.dropsAt = next.at
	}
	s.last, s.torn = next, torn
	return next, nil
}

// openings tells when the connections were opened that took PassiveOpens from
// one value to another. What was before that is forgotten.
func (s *sampler) openings(from, to uint64) []opening {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened.between(from, to)
}

// read reads both files. It is torn if segments kept coming in between, so that
// InSegs and TCPPureAcks are not of the same moment.
func (s *sampler) read() (r sample, torn bool, err error) {
	segs := uint64(0)
	for n := range readings {
		found, err := s.snmp.read(s.values[:2])
		if err == nil && found != 0b11 {
			err = fmt.Errorf("%s: no PassiveOpens and InSegs", s.snmp.file.Name())
		}
		if err != nil {
			return r, false, err
		}
		r.opens = s.values[0]
		if s.netstat == nil {
			r.data = s.values[1]
			return r, false, nil
		}
		if n > 0 && s.values[1] == segs {
			return r, false, nil
		}
		segs = s.values[1]
		acks, err := s.acksAndDrops(&r)
		if err != nil {
			return r, false, err
		}
		r.data = segs - acks
	}
	found, err := s.snmp.read(s.values[:2])
	if err != nil || found != 0b11 {
		return r, true, err
	}
	return r, s.values[1] != segs, nil
}

// acksAndDrops reads netstat. Sandboxes that leave columns out have no pure ACKs
// to subtract: then every segment counts.
func (s *sampler) acksAndDrops(r *sample) (acks uint64, err error) {
	found, err := s.netstat.read(s.values[:])
	if err != nil {
		return 0, err
	}
	if found&0b001 != 0 {
		acks = s.values[0]
	}
	switch {
	case found&0b010 != 0:
		r.drops = s.values[1]
	case found&0b100 != 0:
		r.drops = s.values[2]
	}
	return acks, nil
}
