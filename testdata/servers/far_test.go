package servers

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// oneWay is how far the clients are from the server. It is in the client's end of the connection
// because not every kernel has netem.
const oneWay = 5 * time.Millisecond

// farConn is a TCP connection on which everything, its end too, arrives oneWay later in both
// directions.
type farConn struct {
	net.Conn
	in      chan chunk // what has arrived
	out     chan chunk // what is on its way to the server
	mu      sync.Mutex
	closed  bool // out is
	pending chunk
	ended   error // what Read returns from now on
	timeout time.Time
}

// chunk is what one read gave.
type chunk struct {
	at   time.Time
	data []byte
	err  error
}

// dialFar connects. That takes a round trip, too.
func dialFar(ctx context.Context, target string) (*farConn, error) {
	conn, err := (&net.Dialer{Timeout: requestTimeout}).DialContext(ctx, "tcp", target)
	time.Sleep(2 * oneWay)
	if err != nil {
		return nil, err
	}
	c := &farConn{Conn: conn, in: make(chan chunk, 64), out: make(chan chunk, 64)}
	go c.send()
	way := make(chan chunk, 64)
	go func() {
		defer close(way)
		for {
			data := make([]byte, 4096)
			n, err := conn.Read(data)
			way <- chunk{time.Now(), data[:n], err}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(c.in)
		for x := range way {
			time.Sleep(time.Until(x.at.Add(oneWay)))
			c.in <- x
		}
	}()
	return c, nil
}

// Read returns what has arrived, when it has.
func (c *farConn) Read(p []byte) (int, error) {
	if len(c.pending.data) == 0 && c.ended == nil && !c.await(c.timeout) {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, c.pending.data)
	c.pending.data = c.pending.data[n:]
	if n == 0 {
		return 0, c.ended
	}
	return n, nil
}

// await waits until something has arrived, and reports whether it has before the deadline.
func (c *farConn) await(deadline time.Time) bool {
	var due <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case c.pending = <-c.in:
		c.ended = c.pending.err
		return true
	case <-due:
		return false
	}
}

// send passes on what is on its way to the server, and then closes.
func (c *farConn) send() {
	for x := range c.out {
		time.Sleep(time.Until(x.at.Add(oneWay)))
		_, _ = c.Conn.Write(x.data) // that the server does not get it shows when Read returns
	}
	_ = c.Conn.Close()
}

// Write sends.
func (c *farConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.out <- chunk{at: time.Now(), data: append([]byte(nil), p...)}
	return len(p), nil
}

// Close lets the server know when it has got the rest.
func (c *farConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.out)
	}
	return nil
}

// SetReadDeadline is for the next Read.
func (c *farConn) SetReadDeadline(t time.Time) error {
	c.timeout = t
	return nil
}
