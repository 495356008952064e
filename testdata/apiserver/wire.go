package apiserver

import (
	"net"
	"sync"
)

// Wire carries connections to a server. Frozen, it accepts them and moves no byte, as a process
// that is stopped or a host that has vanished does.
type Wire struct {
	net.Listener
	mu     sync.Mutex
	thawed *sync.Cond
	frozen bool
	ended  bool
	conns  map[net.Conn]bool
	count  int
	all    sync.WaitGroup
}

// NewWire carries the listener's connections to a target until Close.
func NewWire(ln net.Listener, target string) *Wire {
	w := &Wire{Listener: ln, conns: map[net.Conn]bool{}}
	w.thawed = sync.NewCond(&w.mu)
	w.all.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			w.mu.Lock()
			w.count++
			w.conns[near], w.conns[far] = true, true
			w.mu.Unlock()
			w.all.Go(func() { w.carry(near, far) })
			w.all.Go(func() { w.carry(far, near) })
		}
	})
	return w
}

// Close ends it with all connections.
func (w *Wire) Close() {
	_ = w.Listener.Close()
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.Drop()
	w.Freeze(false)
	w.all.Wait()
}

func (w *Wire) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		for w.frozen && !w.ended {
			w.thawed.Wait()
		}
		w.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Freeze stops all bytes, or lets them go on.
func (w *Wire) Freeze(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = on
	w.thawed.Broadcast()
}

// Drop closes all connections.
func (w *Wire) Drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
	w.conns = map[net.Conn]bool{}
}

// Connections counts those so far.
func (w *Wire) Connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}
