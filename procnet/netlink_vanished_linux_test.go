package procnet

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection that was known and of which nothing more is heard: it is reported
// as what it may have been, once, and by its own name.

// Its client resets it while the app holds it and does not look: the kernel takes
// it out of the tables, and reports its end when the app closes it.
func TestResetWhileHeld(t *testing.T) {
	held := make(chan *net.TCPConn, 1)
	srv := serve(t, func(c *net.TCPConn) { held <- c })
	c := dial(t, "127.0.0.1", srv.port)
	app := <-held
	s := openedNetlink(t)
	settled(t, s, srv.port)
	conn := connectionOn(s.known, srv.port)
	walks := walksOf(s)
	before := time.Now()
	reset(c)
	list := look(t, s, srv.port)
	if len(list) != 1 || list[0].Kind != Request || list[0].Conn != conn || list[0].Port != srv.port || list[0].At.Before(before) || list[0].Opened.After(before.Add(openedStep)) {
		t.Errorf("%+v, want a request on the connection %d to port %d", list, conn, srv.port)
	}
	if n := walksOf(s) - walks; n > 2 {
		t.Errorf("%d walks for it", n)
	}
	settled(t, s, srv.port)
	time.Sleep(5 * clockStep)
	before = time.Now()
	app.Close()
	if list := look(t, s, srv.port); len(list) > 0 && !newest(list).Before(before) {
		t.Errorf("the app closes it: %+v", list)
	}
}

// The same with connections that no look had seen before: nobody but the kernel's count
// of opened connections tells of them.
func TestNewResetWhileHeld(t *testing.T) {
	long(t)
	needQuiet(t)
	both(t, func(t *testing.T, which string) {
		held := make(chan *net.TCPConn, 3)
		srv := serve(t, func(c *net.TCPConn) { held <- c })
		s := open(t, which)
		settled(t, s, srv.port)
		for range 2 {
			before := time.Now()
			for range 3 {
				c := dial(t, "127.0.0.1", srv.port)
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				reset(c)
			}
			list := look(t, s, srv.port)
			if n := count(list, Lost) + count(list, Connection); n != 3 || newest(list).Before(before) {
				t.Errorf("%+v, want 3 connections, named or not", list)
			}
			settled(t, s, srv.port)
			time.Sleep(5 * clockStep)
			before = time.Now()
			for range 3 {
				(<-held).Close()
			}
			if list := look(t, s, srv.port); len(list) > 0 && !newest(list).Before(before) {
				t.Errorf("the app closes them: %+v", list)
			}
			settled(t, s, srv.port)
		}
	})
}

// Ended, and closed by the app in one direction alone: no table has it until the app
// closes it altogether.
func TestNewAndEndedWhileHeld(t *testing.T) {
	needQuiet(t)
	both(t, func(t *testing.T, which string) {
		held := make(chan *net.TCPConn, 1)
		srv := serve(t, func(c *net.TCPConn) {
			c.Read(make([]byte, 1))
			c.CloseWrite()
			held <- c
		})
		s := open(t, which)
		settled(t, s, srv.port)
		before := time.Now()
		c := dial(t, "127.0.0.1", srv.port)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		app := <-held
		c.Close()
		until(t, "it is in no table", func() bool { return app.SetKeepAlive(true) == nil && stateOf(t, app) == unix.BPF_TCP_CLOSE })
		if list := look(t, s, srv.port); len(list) != 1 || newest(list).Before(before) {
			t.Errorf("%+v, want one connection, named or not", list)
		}
		settled(t, s, srv.port)
	})
}

func stateOf(t *testing.T, c *net.TCPConn) (state uint8) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// Where other ports listen too, nobody knows whose connection was not seen. Then nothing
// may be claimed, or a busy neighbour would hold the exit for ever.
func TestNeighboursCountForNothing(t *testing.T) {
	srv, neighbour := serve(t, nil), serve(t, answer(wait))
	s := openedNetlink(t)
	settled(t, s, srv.port)
	for range 3 {
		for range 10 {
			c := dial(t, "127.0.0.1", neighbour.port)
			ask(t, c)
			c.Close()
		}
		if list := look(t, s, srv.port); len(list) > 0 {
			t.Errorf("%+v", list)
		}
	}
	neighbour.stop()
	look(t, s, srv.port)
	// It listens no more: what comes now is known to be ours.
	look(t, s, srv.port)
	ask(t, dial(t, "127.0.0.1", srv.port))
	if list := look(t, s, srv.port); len(list) != 1 || list[0].Kind != Connection {
		t.Errorf("%+v, want one connection", list)
	}
}

// connectionOn is the one that is known on a port.
func connectionOn(k *known, port uint16) uint64 {
	for id, s := range k.conns {
		if s.port == port {
			return id
		}
	}
	return 0
}

// Once the kernel has dropped reports, what is not heard of is no news of its own,
// however many looks later it is noticed.
func TestVanishedWithLostEvents(t *testing.T) {
	needQuiet(t)
	srv := serve(t, nil)
	s := openedNetlink(t)
	settled(t, s, srv.port)
	s.known.begin()
	s.known.mark(1, s.now(), srv.port, live, 0) // its end was among them
	s.known.begin()
	s.ends.lose(s.now())
	if list := look(t, s, srv.port); count(list, Lost) != 1 || len(list) != 1 {
		t.Errorf("%+v, want that something was lost", list)
	}
	ask(t, dial(t, "127.0.0.1", srv.port))
	if list := look(t, s, srv.port); len(list) != 1 || list[0].Kind != Connection {
		t.Errorf("%+v, want the new connection alone", list)
	}
	if _, ok := s.known.get(1); ok {
		t.Error("it is still waited for")
	}
}

// The kernel has no memory for a longer filter: then the shorter must not stay.
func TestFilterRefused(t *testing.T) {
	needQuiet(t)
	const limit = "/proc/sys/net/core/optmem_max"
	before, err := os.ReadFile(limit)
	if err != nil {
		t.Skip("needs a limit of the namespace's own: ", err)
	}
	first, second := serve(t, nil), serve(t, nil)
	s := openedNetlink(t)
	settled(t, s, first.port)
	if len(s.ends.filtered) != 1 {
		t.Fatalf("the filter is for %v", s.ends.filtered)
	}
	if err := os.WriteFile(limit, []byte("8"), 0o644); err != nil {
		t.Skip("needs to set the limit: ", err)
	}
	defer os.WriteFile(limit, before, 0o644)
	settled(t, s, first.port, second.port)
	if len(s.ends.filtered) != 0 {
		t.Errorf("a filter for %v, in no memory", s.ends.filtered)
	}
	c := dial(t, "127.0.0.1", second.port)
	ask(t, c)
	c.Close()
	if list := look(t, s, first.port, second.port); count(list, Connection) != 1 {
		t.Errorf("%+v, want a connection", list)
	}
}
