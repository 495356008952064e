package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// traffic is clients of an app, and of a port on which nobody accepts.
type traffic struct {
	random      *rand.Rand
	app         net.Listener
	unaccepting net.Listener
	kept        []net.Conn
	waiting     []net.Conn // never accepted
	arrived     time.Time  // when the newest arrival was begun
	did         []string
	err         error
}

// A request is one byte. It says what the app does: answer, answer and close, or answer and reset.
const (
	echoes = 'e'
	closes = 'c'
	resets = 'r'
)

func newTraffic(random *rand.Rand) (s *traffic, err error) {
	s = &traffic{random: random}
	var config net.ListenConfig
	config.SetMultipathTCP(random.IntN(2) == 0)
	if s.app, err = config.Listen(context.Background(), "tcp", "[::]:0"); err != nil {
		return nil, err
	}
	if s.unaccepting, err = config.Listen(context.Background(), "tcp", "[::]:0"); err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := s.app.Accept()
			if err != nil {
				return
			}
			go serveRequests(c)
		}
	}()
	return s, nil
}

func (s *traffic) port(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// serveRequests answers each byte with itself, and ends the connection where the byte says so.
func serveRequests(c net.Conn) {
	defer c.Close()
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		if _, err := c.Write(b); err != nil || b[0] == closes {
			return
		}
		if b[0] == resets {
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		}
	}
}

// doOne does one thing at random.
func (s *traffic) doOne() {
	choices := []struct {
		name string
		do   func()
	}{
		{"short", func() { s.short(echoes, false) }},
		{"short, reset by the client", func() { s.short(echoes, true) }},
		{"short, closed by the app", func() { s.short(closes, false) }},
		{"short, reset by the app", func() { s.short(resets, false) }},
		{"silent", s.silent},
		{"never accepted", s.neverAccepted},
		{"keep", s.keep},
		{"request", s.request},
		{"request", s.request},
		{"let go", s.letGo},
	}
	choice := choices[s.random.IntN(len(choices))]
	s.did = append(s.did, choice.name)
	choice.do()
}

func (s *traffic) dial(l net.Listener) net.Conn {
	host := []string{"127.0.0.1", "::1"}[s.random.IntN(2)]
	var d net.Dialer
	d.SetMultipathTCP(s.random.IntN(2) == 0)
	s.arrived = time.Now()
	c, err := d.Dial("tcp", net.JoinHostPort(host, s.port(l)))
	if err != nil {
		s.err = err
		return nil
	}
	return c
}

// ask sends a request and waits for its answer.
func (s *traffic) ask(c net.Conn, what byte) {
	b := []byte{what}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	s.arrived = time.Now()
	_, err := c.Write(b)
	if err == nil {
		_, err = io.ReadFull(c, b)
	}
	if err != nil {
		s.err = err
	}
}

// short makes a connection with one request.
func (s *traffic) short(what byte, reset bool) {
	c := s.dial(s.app)
	if c == nil {
		return
	}
	s.ask(c, what)
	if reset {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	if what != echoes {
		_, _ = c.Read(make([]byte, 1)) // until the app ends it
	}
	c.Close()
}

// silent makes a connection without a request.
func (s *traffic) silent() {
	if c := s.dial(s.app); c != nil {
		c.Close()
	}
}

// neverAccepted makes a connection that waits in an accept queue.
func (s *traffic) neverAccepted() {
	if c := s.dial(s.unaccepting); c != nil {
		s.waiting = append(s.waiting, c)
	}
}

func (s *traffic) keep() {
	if c := s.dial(s.app); c != nil {
		s.kept = append(s.kept, c)
		if s.random.IntN(2) == 0 {
			s.ask(c, echoes)
		}
	}
}

func (s *traffic) request() {
	if len(s.kept) > 0 {
		s.ask(s.kept[s.random.IntN(len(s.kept))], echoes)
	}
}

func (s *traffic) letGo() {
	if len(s.kept) > 0 {
		i := s.random.IntN(len(s.kept))
		s.kept[i].Close()
		s.kept = slices.Delete(s.kept, i, i+1)
	}
}

// settle ends the connections in the accept queue, which would hold lull for ever.
func (s *traffic) settle() {
	s.unaccepting.Close()
	for _, c := range s.waiting {
		c.Close()
	}
}
