package kube

import (
	"context"
	"net"
	"sync"
)

// lines are a client's connections. The http.Transport would keep them for a
// while after the last request: CloseIdleConnections passes over those whose
// watches have only just been cancelled.
type lines struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	open  map[*line]struct{}
	ended bool
}

type line struct {
	net.Conn
	of *lines
}

func (l *lines) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if l.open == nil {
		l.open = map[*line]struct{}{}
	}
	one := &line{conn, l}
	l.open[one] = struct{}{}
	return one, nil
}

func (l *line) Close() error {
	l.of.mu.Lock()
	delete(l.of.open, l)
	l.of.mu.Unlock()
	return l.Conn.Close()
}

// end closes all connections, and those that are still being made.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for one := range l.open {
		_ = one.Conn.Close()
	}
}
