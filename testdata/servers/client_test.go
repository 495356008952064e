package servers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	clients        = 20
	period         = 100 * time.Millisecond // of a client's requests
	requestTimeout = 2 * time.Second
)

// How a connection ended, as the client saw it.
type ending int

const (
	open   ending = iota // it had not when the client stopped
	asked                // an answer said that no more would follow
	idle                 // between two requests
	broken               // with a request on it that was never answered
)

// connection is what became of one.
type connection struct {
	opened, ended time.Time
	answers       int
	how           ending
}

// client sends requests on one connection as long as that lasts, then on another.
type client struct {
	target      string
	connections []*connection
	refused     []time.Time // when it could not connect
	failures    []string    // why, and why requests were not answered
}

// crowd is the clients of a server.
type crowd struct {
	clients []*client
	stop    context.CancelFunc
	running sync.WaitGroup
}

// crowdAt starts the clients.
func crowdAt(target string, run func(*client, context.Context)) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{stop: cancel}
	for range clients {
		x := &client{target: target}
		c.clients = append(c.clients, x)
		c.running.Go(func() { run(x, ctx) })
	}
	return c
}

// end stops the clients. Only then may their connections be read.
func (c *crowd) end() {
	c.stop()
	c.running.Wait()
}

// pace is the time from one request to the next. It varies, so that clients do not fall into step.
func pace() time.Duration {
	return time.Duration(float64(period) * (0.7 + 0.6*rand.Float64()))
}

// http1 is a client of HTTP/1.1 until ctx is done.
func (c *client) http1(ctx context.Context) {
	next := time.Now().Add(time.Duration(rand.Int64N(int64(period))))
	for ctx.Err() == nil {
		conn, err := dialFar(context.Background(), c.target)
		if err != nil {
			c.refused, c.failures = append(c.refused, time.Now()), append(c.failures, err.Error())
			time.Sleep(period / 4)
			continue
		}
		x := &connection{opened: time.Now()}
		c.connections = append(c.connections, x)
		next = c.use(ctx, conn, x, next)
		x.ended = time.Now()
		_ = conn.Close()
	}
}

// use sends requests on a connection, the first when it is due, until the connection ends. It
// returns when the next request is due.
func (c *client) use(ctx context.Context, conn *farConn, x *connection, due time.Time) (next time.Time) {
	answers := bufio.NewReader(conn)
	for {
		if conn.await(due) && conn.ended != nil {
			x.how = idle
			return due
		}
		if ctx.Err() != nil {
			return due
		}
		due = time.Now().Add(pace())
		last, err := c.ask(conn, answers)
		if err != nil {
			x.how = broken
			c.failures = append(c.failures, err.Error())
			return due
		}
		x.answers++
		if last {
			x.how = asked
			return due
		}
	}
}

// ask sends one request, and reports whether the answer says that it was the last.
func (c *client) ask(conn *farConn, answers *bufio.Reader) (last bool, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
		return false, err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", c.target); err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return false, err
	}
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("status %s", answer.Status)
	}
	return answer.Close, nil
}
