package main

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// hangingListener accepts connections for a while and then none any more, as an app does that has
// deadlocked: what comes stays in the accept queue.
type hangingListener struct {
	net.Listener
	closed context.Context
	end    context.CancelFunc
	once   sync.Once
}

func newHangingListener(l net.Listener, after time.Duration) *hangingListener {
	closed, end := context.WithCancel(context.Background())
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Now().Add(after))
	}
	return &hangingListener{Listener: l, closed: closed, end: end}
}

// Accept blocks from the deadline on until the listener is closed.
func (h *hangingListener) Accept() (net.Conn, error) {
	conn, err := h.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		<-h.closed.Done()
		return nil, net.ErrClosed
	}
	return conn, err
}

// Close closes the listener: what is in its queue is reset by the kernel.
func (h *hangingListener) Close() error {
	err := net.ErrClosed
	h.once.Do(func() {
		h.end()
		err = h.Listener.Close()
	})
	return err
}
