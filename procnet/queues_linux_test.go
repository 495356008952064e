package procnet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestQueued(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		l, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
		s := open(t, which)
		checkQueue(t, s, port, 0)
		before := time.Now()
		for range 3 {
			dial(t, "127.0.0.1", port)
		}
		checkQueue(t, s, port, 3)
		for _, connections := range []int{3, 0} { // new once, waiting each time
			list := lookAll(t, s, port)
			if count(list, Connection) != connections || count(list, Waiting) != 3 || newest(list).Before(before) {
				t.Errorf("unaccepted connections: %+v", list)
			}
			before = time.Now()
		}
		for left := uint32(3); left > 0; left-- {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			checkQueue(t, s, port, left-1)
			if n := count(lookAll(t, s, port), Waiting); n != int(left-1) {
				t.Errorf("%d wait, want %d", n, left-1)
			}
		}
	})
}

// waitingSince is since when nothing has been accepted, as a look tells.
func waitingSince(t *testing.T, s Source, port uint16, want int) time.Time {
	t.Helper()
	list := lookAll(t, s, port)
	for _, a := range list {
		if a.Kind == Waiting && a.Port == port && a.Count == want && !a.Since.IsZero() && !a.Since.After(a.At) {
			return a.Since
		}
	}
	t.Fatalf("%+v, want %d waiting on port %d", list, want, port)
	return time.Time{}
}

// Since is the first look that found connections waiting after the last sign that any was
// accepted: whatever else comes and goes.
func TestWaitingSince(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		needQuiet(t)
		l, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
		s := open(t, which)
		settled(t, s, port)
		before := time.Now()
		clients := []*net.TCPConn{dial(t, "127.0.0.1", port), dial(t, "127.0.0.1", port), dial(t, "127.0.0.1", port)}
		stuck := waitingSince(t, s, port, 3)
		if stuck.Before(before) {
			t.Errorf("since %s, before the first came", before.Sub(stuck))
		}
		for _, step := range []struct {
			name string
			do   func()
			want int
		}{
			{"nothing", func() {}, 3},
			{"another comes", func() { dial(t, "127.0.0.1", port) }, 4},
			{"a client sends", func() { clients[0].Write([]byte("x")) }, 4},
			{"a client ends", func() { clients[1].Close() }, 4},
			{"a client resets", func() { reset(clients[2]) }, 4},
			{"one comes and resets", func() { reset(dial(t, "127.0.0.1", port)) }, 5},
			{"nothing again", func() {}, 5},
		} {
			step.do()
			if got := waitingSince(t, s, port, step.want); !got.Equal(stuck) {
				t.Errorf("%s: since %s, want %s", step.name, got, stuck)
			}
		}
		// A slow app accepts one between two looks, and then closes it or not.
		for left := 4; left > 0; left-- {
			before := time.Now()
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if left%2 == 0 {
				c.Close()
			}
			if got := waitingSince(t, s, port, left); got.Before(before) {
				t.Errorf("one was accepted %s after Since", before.Sub(got))
			}
		}
		// One is accepted, and another takes its place.
		before = time.Now()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		dial(t, "127.0.0.1", port)
		if got := waitingSince(t, s, port, 1); got.Before(before) {
			t.Errorf("one was accepted and one came %s after Since", before.Sub(got))
		}
		// Since the queue was empty is long ago; it fills anew.
		if c, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		settled(t, s, port)
		before = time.Now()
		dial(t, "127.0.0.1", port)
		if got := waitingSince(t, s, port, 1); got.Before(before) {
			t.Errorf("the queue filled %s after Since", before.Sub(got))
		}
	})
}

// Of two listeners on one port, one accepts: the port is alive.
func TestWaitingWhileAnotherAccepts(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		config := net.ListenConfig{Control: setOption(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)}
		_, port := listen(t, config, "tcp4", "127.0.0.1:0")
		s := open(t, which)
		settled(t, s, port)
		for range 3 {
			dial(t, "127.0.0.1", port)
		}
		waitingSince(t, s, port, 3)
		second, _ := listen(t, config, "tcp4", net.JoinHostPort("127.0.0.1", portString(port)))
		serveOn(t, second, answer(closed))
		for _, stays := range []bool{false, true} {
			before := time.Now()
			// Which of the two listeners gets a connection, the kernel chooses.
			for accepted := false; !accepted; {
				c := dial(t, "127.0.0.1", port)
				c.Write([]byte("x"))
				c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				_, err := c.Read(make([]byte, 1))
				accepted = err == nil
				if !stays {
					c.Close()
				}
			}
			list := lookAll(t, s, port)
			for _, a := range list {
				if a.Kind == Waiting && a.Since.Before(before) {
					t.Errorf("one was accepted %s after Since", before.Sub(a.Since))
				}
			}
			if count(list, Waiting) < 3 {
				t.Errorf("%+v", list)
			}
		}
	})
}

// A queue that was full before the source was opened.
func TestWaitingBeforeOpen(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		_, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
		dial(t, "127.0.0.1", port)
		s := open(t, which)
		opened := time.Now()
		time.Sleep(5 * clockStep)
		if got := waitingSince(t, s, port, 1); got.After(opened) {
			t.Errorf("since %s after the source was open", got.Sub(opened))
		}
	})
}

// A connection that was seen waiting counts once more when it has been accepted: only then
// does the app begin with it.
func TestAcceptedLater(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		l, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
		s := open(t, which)
		settled(t, s, port)
		c := dial(t, "127.0.0.1", port)
		waitingSince(t, s, port, 1)
		settled(t, s, port)
		before := time.Now()
		app, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer app.Close()
		accepted := time.Now()
		list := look(t, s, port)
		if len(list) != 1 || list[0].Kind != Request || list[0].Port != port || list[0].At.Before(before) || list[0].Peer != c.LocalAddr().(*net.TCPAddr).AddrPort() {
			t.Errorf("accepted at %s: %+v, want a request from %s", accepted, list, c.LocalAddr())
		}
		settled(t, s, port)
	})
}

// The same with proc, which sees the queue's length, but no answer.
func TestAcceptedBetweenLooksProc(t *testing.T) {
	needQuiet(t)
	for _, tickFirst := range []bool{true, false} {
		l, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
		s := open(t, "proc").(*procSource)
		settled(t, s, port)
		for range 2 {
			dial(t, "127.0.0.1", port)
		}
		waitForQueue(t, s, port, 2)
		accepted := time.Now()
		app, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer app.Close()
		if tickFirst {
			waitForQueue(t, s, port, 1)
		}
		if list := look(t, s, port); count(list, Request) != 1 || count(list, Connection) != 2 || newest(list).Before(accepted) {
			t.Errorf("one was accepted at %s: %+v", accepted, list)
		}
		// When the listener closes, nothing has been accepted.
		l.Close()
		waitForQueue(t, s, port, -1)
		if list := s.sampler.accepts.take(); len(list) > 0 {
			t.Errorf("accepted: %v", list)
		}
	}
}

// waitForQueue waits until the last reading has seen so many in the accept queue; -1: no listener.
func waitForQueue(t *testing.T, s *procSource, port uint16, want int) {
	t.Helper()
	until(t, fmt.Sprintf("%d in the accept queue", want), func() bool {
		l := s.sampler.accepts
		l.mu.Lock()
		defer l.mu.Unlock()
		n, ok := l.lengths[port]
		return ok && int(n) == want || !ok && want < 0
	})
}

// A connection that came and was accepted between two looks counts by when the app began with it,
// which may be long after it came. Without a request there is nothing to begin with.
func TestAcceptedBetweenLooks(t *testing.T) {
	tests := []struct {
		name    string
		request bool
		answer  bool
		counts  bool // by when it was accepted
	}{
		{"the app works on its request", true, false, true},
		{"the app has answered", true, true, true},
		{"no request yet", false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
			s := open(t, "netlink")
			settled(t, s, port)
			c := dial(t, "127.0.0.1", port)
			if tt.request {
				c.Write([]byte("x"))
			}
			came := time.Now()
			time.Sleep(openedStep + 5*clockStep)
			accepted := time.Now()
			app, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer app.Close()
			if tt.answer {
				app.Write([]byte("x"))
				c.Read(make([]byte, 1))
				time.Sleep(5 * clockStep)
			}
			list := look(t, s, port)
			if count(list, Connection) != 1 || newest(list).Before(accepted) == tt.counts || list[0].At.After(came.Add(2*clockStep)) {
				t.Errorf("came at %s, accepted at %s: %+v", came, accepted, list)
			}
			settled(t, s, port)
		})
	}
}

// Connections that were never accepted are reset with the listener.
func TestListenerCloses(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		l, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
		s := open(t, which)
		settled(t, s, port)
		before := time.Now()
		for range 3 {
			dial(t, "127.0.0.1", port)
		}
		l.Close()
		list := look(t, s, port)
		if count(list, Connection) < 3 || newest(list).Before(before) {
			t.Errorf("%+v, want 3 connections", list)
		}
	})
}

func TestOverflow(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		port := listenBacklog(t, 1)
		s := open(t, which)
		settled(t, s, port)
		for range 2 { // a queue of 1 holds 2
			dial(t, "127.0.0.1", port)
		}
		settled(t, s, port)
		checkQueue(t, s, port, 2)
		before := time.Now()
		c, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", portString(port)), 300*time.Millisecond)
		if err == nil {
			c.Close()
			t.Fatal("the queue holds more than it should")
		}
		list := look(t, s, port)
		if count(list, Dropped) == 0 {
			t.Fatalf("turned away, but: %+v", list)
		}
		for _, a := range list {
			if a.Kind == Dropped && (a.At.Before(before) || which == "netlink" && a.Port != port) {
				t.Errorf("%+v", a)
			}
		}
		if n := count(look(t, s, port), Dropped); n > 0 && which == "netlink" {
			t.Errorf("again: %d", n)
		}
	})
}

// A listener that opens between two looks, and turns somebody away.
func TestOverflowOfNewListener(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		s := open(t, which)
		look(t, s)
		port := listenBacklog(t, 1)
		for range 2 {
			dial(t, "127.0.0.1", port)
		}
		if c, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", portString(port)), 300*time.Millisecond); err == nil {
			c.Close()
			t.Fatal("the queue holds more than it should")
		}
		if list := look(t, s, port); count(list, Dropped) == 0 {
			t.Errorf("turned away, but: %+v", list)
		}
	})
}

// A stray RST makes a listener count a drop, but nobody was turned away.
func TestStrayReset(t *testing.T) {
	needQuiet(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Skip("needs a raw socket: ", err)
	}
	defer unix.Close(fd)
	_, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
	s := open(t, "netlink")
	settled(t, s, port)
	segments := inSegs(t)
	local := netip.MustParseAddr("127.0.0.1")
	if err := unix.Sendto(fd, tcpReset(local, port), 0, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
		t.Fatal(err)
	}
	until(t, "the RST arrives", func() bool { return inSegs(t) > segments })
	if list := look(t, s, port); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}

// tcpReset is a TCP segment with nothing but RST, from and to an address.
func tcpReset(addr netip.Addr, port uint16) []byte {
	a := addr.As4()
	pseudo := slices.Concat(a[:], a[:], []byte{0, unix.IPPROTO_TCP, 0, 20})
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment, 9)
	binary.BigEndian.PutUint16(segment[2:], port)
	segment[12], segment[13] = 5<<4, 0x04
	sum := uint32(0)
	for b := slices.Concat(pseudo, segment); len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 > 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(segment[16:], ^uint16(sum))
	return segment
}

// listenBacklog listens with a queue of so many.
func listenBacklog(t *testing.T, backlog int) uint16 {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, port := listen(t, config, "tcp4", "127.0.0.1:0")
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return port
}

// That another connection comes while a look is under way is no sign that the app accepts, whether
// it comes before the look sees the connections or after.
func TestWaitingWhileOneComes(t *testing.T) {
	served := serve(t, nil)
	_, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
	ports := []uint16{served.port, port}
	s := open(t, "netlink")
	settled(t, s, ports...)
	dial(t, "127.0.0.1", port)
	since := func(meanwhile func()) (since time.Time) {
		meanwhile = sync.OnceFunc(meanwhile)
		if _, err := s.Arrivals(t.Context(), ports, func(a Arrival) {
			switch {
			case a.Kind == Waiting:
				since = a.Since
			case a.Port == served.port:
				meanwhile()
			}
		}, nil); err != nil {
			t.Fatal(err)
		}
		return since
	}
	stuck := since(func() {})
	var all sync.WaitGroup
	for _, step := range []struct {
		name string
		stay bool // the other port's connection, which is yielded when the connections are seen, else before
		do   func()
	}{
		{"before", false, func() { dial(t, "127.0.0.1", port) }},
		{"nothing", false, func() {}},
		{"after", true, func() { // while the look waits for late events
			all.Go(func() {
				time.Sleep(lateEvents / 3)
				dial(t, "127.0.0.1", port)
			})
		}},
		{"nothing", false, func() {}},
	} {
		c := dial(t, "127.0.0.1", served.port)
		ask(t, c)
		if !step.stay {
			c.Close()
		}
		if got := since(step.do); !got.Equal(stuck) {
			t.Errorf("%s: since %s later", step.name, got.Sub(stuck))
		}
		all.Wait()
	}
}
