package faults

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// app is a server in a place, and its clients. A request is one byte, and so is its answer.
type app struct {
	*place
	listener net.Listener
	port     int

	mu       sync.Mutex
	arrivals []arrival // in the order in which they were begun
	kept     []net.Conn
	mute     bool // there are no clients
}

// arrival is what a client does: a connection, or a request.
type arrival struct {
	began, over time.Time
	err         error
}

// newApp starts a server that ends with the test. Port 0: any.
func newApp(t *testing.T, p *place, port int) *app {
	t.Helper()
	a := &app{place: p}
	a.listener = p.listen(t, net.JoinHostPort("::", strconv.Itoa(port)))
	a.port = a.listener.Addr().(*net.TCPAddr).Port
	go a.serve()
	return a
}

func (a *app) serve() {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// arrive has a client do something, and notes when.
func (a *app) arrive(do func() error) {
	a.mu.Lock()
	i := len(a.arrivals)
	a.arrivals = append(a.arrivals, arrival{began: time.Now()})
	a.mu.Unlock()
	err := do()
	a.mu.Lock()
	a.arrivals[i].over, a.arrivals[i].err = time.Now(), err
	a.mu.Unlock()
}

// until returns the newest arrival that was begun by a time, and the first error among them. What
// was begun afterwards is nothing to a hook that had decided.
func (a *app) until(t time.Time) (last arrival, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.arrivals {
		if x.began.After(t) {
			break
		}
		if last = x; err == nil {
			err = x.err
		}
	}
	return last, err
}

func (a *app) dial() (c net.Conn, err error) {
	a.do(func() {
		d := net.Dialer{Timeout: 10 * time.Second}
		c, err = d.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port)))
	})
	return c, err
}

// call makes a connection with one request.
func (a *app) call() {
	a.arrive(func() error {
		c, err := a.dial()
		if err == nil {
			err = ask(c)
			c.Close()
		}
		return err
	})
}

// keep opens a connection that stays.
func (a *app) keep() {
	a.arrive(func() error {
		c, err := a.dial()
		if err == nil {
			a.kept = append(a.kept, c)
		}
		return err
	})
}

// again makes a request on a connection that was kept.
func (a *app) again(i int) { a.arrive(func() error { return ask(a.kept[i]) }) }

func ask(c net.Conn) error {
	b := []byte{'x'}
	err := c.SetDeadline(time.Now().Add(10 * time.Second))
	if err == nil {
		_, err = c.Write(b)
	}
	if err == nil {
		_, err = io.ReadFull(c, b)
	}
	return err
}

// callFor calls again and again, until the time or the hook's end.
func (a *app) callFor(d time.Duration, end <-chan struct{}) {
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for from := time.Now(); !a.mute && time.Since(from) < d; {
		a.call()
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}
