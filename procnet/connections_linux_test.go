package procnet

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFamilies(t *testing.T) {
	long(t)
	var plain, multipath net.ListenConfig
	plain.SetMultipathTCP(false)
	multipath.SetMultipathTCP(true)
	tests := []struct {
		name, network, address, host, peer string
		config                             net.ListenConfig
		mptcp                              bool
	}{
		{"v4", "tcp4", "127.0.0.1:0", "127.0.0.1", "127.0.0.1", plain, false},
		{"v6", "tcp6", "[::1]:0", "::1", "::1", plain, false},
		{"v4-mapped", "tcp", "[::]:0", "127.0.0.1", "127.0.0.1", plain, false},
		{"multipath listener", "tcp", "[::]:0", "127.0.0.1", "127.0.0.1", multipath, false},
		{"multipath", "tcp", "[::]:0", "127.0.0.1", "127.0.0.1", multipath, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, which string) {
				l, port := listen(t, tt.config, tt.network, tt.address)
				serveOn(t, l, nil)
				s := open(t, which)
				settled(t, s, port)
				before := time.Now()
				c := dialFamily(t, net.JoinHostPort(tt.host, portString(port)), tt.mptcp)
				ask(t, c)
				list := look(t, s, port)
				if count(list, Connection) != 1 || newest(list).Before(before) {
					t.Fatalf("open: %+v", list)
				}
				if a := list[0]; a.Peer != c.LocalAddr().(*net.TCPAddr).AddrPort() || a.Port != port || a.Conn == 0 {
					t.Errorf("open: %+v", a)
				}
				settled(t, s, port)

				// Open, used and gone between two looks.
				before = time.Now()
				gone := dialFamily(t, net.JoinHostPort(tt.host, portString(port)), tt.mptcp)
				ask(t, gone)
				gone.Close()
				list = look(t, s, port)
				if count(list, Connection) < 1 || count(list, Lost) > 0 || newest(list).Before(before) {
					t.Errorf("gone: %+v", list)
				}
				settled(t, s, port)
				for _, a := range list {
					if a.Kind == Connection && which == "netlink" && a.Peer.Addr().String() != tt.peer {
						t.Errorf("gone: %+v", a)
					}
				}
			})
		})
	}
}

func TestReusePort(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		config := net.ListenConfig{Control: setOption(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)}
		_, port := listen(t, config, "tcp4", "127.0.0.1:0")
		listen(t, config, "tcp4", net.JoinHostPort("127.0.0.1", portString(port)))
		s := open(t, which)
		settled(t, s, port)
		const n = 16 // unaccepted: their rows have inode 0
		for range n {
			dial(t, "127.0.0.1", port)
		}
		if list := look(t, s, port); count(list, Connection) != n {
			t.Errorf("%d connections, want %d: %+v", count(list, Connection), n, list)
		}
		checkQueue(t, s, port, n)
	})
}

func TestOpenBefore(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		srv := serve(t, nil)
		c := dial(t, "127.0.0.1", srv.port)
		ask(t, c)
		time.Sleep(5 * clockStep) // what is closer to Open than that may count
		s := open(t, which)
		opened := time.Now()
		if list := look(t, s, srv.port); len(list) > 0 && which == "netlink" {
			t.Errorf("before: %+v", list)
		}
		settled(t, s, srv.port)
		before := time.Now()
		ask(t, c)
		list := look(t, s, srv.port)
		if len(list) != 1 || list[0].Kind != Request || list[0].At.Before(before) {
			t.Fatalf("request: %+v", list)
		}
		if a := list[0]; a.Opened.After(opened.Add(openedStep)) || a.Peer.Addr() != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("request: %+v, open before %s", a, opened)
		}
		settled(t, s, srv.port)

		// A request, and then the end, between two looks.
		before = time.Now()
		ask(t, c)
		c.Close()
		list = look(t, s, srv.port)
		if count(list, Request) == 0 || count(list, Connection) > 0 || newest(list).Before(before) {
			t.Errorf("request and close: %+v", list)
		}
	})
}

// A connection that ends without further data is no arrival.
func TestIdleClose(t *testing.T) {
	srv := serve(t, nil)
	c := dial(t, "127.0.0.1", srv.port)
	ask(t, c)
	time.Sleep(5 * clockStep) // what is closer to a dump than that may count twice
	s := open(t, "netlink")
	settled(t, s, srv.port)
	c.Close()
	srv.stop()
	if list := look(t, s, srv.port); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}

// A half-open connection is news once, whatever becomes of it: the client may be gone.
// When it is complete, it is news again, like any connection.
func TestHalfOpen(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		// The handshake is held back until data comes.
		config := net.ListenConfig{Control: setOption(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 30)}
		config.SetMultipathTCP(false)
		l, port := listen(t, config, "tcp4", "127.0.0.1:0")
		s := open(t, which)
		settled(t, s, port)
		before := time.Now()
		c := dial(t, "127.0.0.1", port)
		if list := look(t, s, port); count(list, Connection) != 1 || len(list) != 1 || newest(list).Before(before) {
			t.Errorf("half-open: %+v", list)
		}
		for range 3 {
			if list := look(t, s, port); len(list) > 0 {
				t.Errorf("still half-open: %+v", list)
			}
		}
		before = time.Now()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		list := look(t, s, port)
		if count(list, Connection) != 1 || newest(list).Before(before) {
			t.Errorf("complete: %+v", list)
		}
		settled(t, s, port)

		// Half-open at one look, complete and gone at the next.
		c = dial(t, "127.0.0.1", port)
		look(t, s, port)
		before = time.Now()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if app, err := l.Accept(); err == nil {
				app.Close()
			}
		}
		c.Close()
		list = look(t, s, port)
		if count(list, Connection) != 1 || newest(list).Before(before) {
			t.Errorf("complete and gone: %+v", list)
		}
		settled(t, s, port)
	})
}

func TestOtherPorts(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		mine, other := serve(t, nil), serve(t, nil)
		s := open(t, which)
		settled(t, s, mine.port)
		for range 10 { // and they stay open
			ask(t, dial(t, "127.0.0.1", other.port))
		}
		if list := look(t, s, mine.port); len(list) > 0 {
			t.Errorf("another port's connections: %+v", list)
		}
		for range 10 {
			c := dial(t, "127.0.0.1", other.port)
			ask(t, c)
			c.Close()
		}
		// Those that are gone proc cannot tell from ours.
		if list := look(t, s, mine.port); len(list) > 0 && which == "netlink" {
			t.Errorf("another port's short connections: %+v", list)
		}
		// Asked about now, it must not be called quiet.
		ask(t, dial(t, "127.0.0.1", other.port))
		list := look(t, s, other.port)
		if count(list, Lost) != 1 || count(list, Connection) == 0 {
			t.Errorf("a port asked about for the first time: %+v", list)
		}
	})
}

// After explicit ports, all ports are asked about for the first time.
func TestNobodyNamedAfterSome(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		needQuiet(t)
		mine := serve(t, nil)
		l, other := listen(t, net.ListenConfig{}, "tcp", "[::]:0")
		serveOn(t, l, nil)
		s := open(t, which)
		settled(t, s, mine.port)
		c := dial(t, "127.0.0.1", other)
		ask(t, c)
		c.Close()
		list := look(t, s)
		if count(list, Lost) != 1 || list[0].Port != other {
			t.Errorf("%+v, want port %d lost", list, other)
		}
		settled(t, s)
	})
}

func TestPortsByThemselves(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		needQuiet(t)
		inside := serve(t, nil)
		s := open(t, which)
		settled(t, s)
		l, port := listen(t, net.ListenConfig{}, "tcp", "[::]:0") // after Open
		serveOn(t, l, nil)
		ask(t, dial(t, "127.0.0.1", inside.port))
		ask(t, dial(t, "::1", port))
		list := look(t, s)
		if len(list) != 1 || list[0].Port != port || list[0].Kind != Connection {
			t.Errorf("%+v, want one connection on port %d", list, port)
		}
		queues, err := s.Queued(t.Context(), nil)
		if err != nil || len(queues) != 1 || queues[0].Port != port {
			t.Errorf("queues %v, %v", queues, err)
		}
	})
}

func setOption(level, name, value int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		return c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, name, value) })
	}
}
