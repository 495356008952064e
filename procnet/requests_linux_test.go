package procnet

import (
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"
)

func TestRequests(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		srv := serve(t, nil)
		s := open(t, which)
		settled(t, s, srv.port)
		busy, idle := dial(t, "127.0.0.1", srv.port), dial(t, "127.0.0.1", srv.port)
		ask(t, busy)
		ask(t, idle)
		if list := look(t, s, srv.port); count(list, Connection) != 2 {
			t.Fatalf("two connections: %+v", list)
		}
		settled(t, s, srv.port)
		rounds := 3
		if testing.Short() {
			rounds = 1
		}
		for range rounds {
			before := time.Now()
			ask(t, busy)
			time.Sleep(500 * time.Millisecond) // so that it has to look back
			asked := time.Now()
			list := look(t, s, srv.port)
			if len(list) != 1 || list[0].Kind != Request {
				t.Fatalf("one request: %+v", list)
			}
			a := list[0]
			if a.At.Before(before) || !a.At.Before(asked) || a.Opened.After(before.Add(openedStep)) {
				t.Errorf("asked from %s to %s: %+v", before, asked, a)
			}
			if which == "netlink" && a.Peer != busy.LocalAddr().(*net.TCPAddr).AddrPort() {
				t.Errorf("%+v, want it from %s", a, busy.LocalAddr())
			}
			if list := look(t, s, srv.port); len(list) > 0 {
				t.Errorf("again: %+v", list)
			}
		}
	})
}

// A client's keepalives move no time of its connection. The source "proc" cannot
// tell them from data.
func TestClientKeepalives(t *testing.T) {
	long(t)
	needQuiet(t)
	srv := serve(t, nil)
	c := dial(t, "127.0.0.1", srv.port)
	ask(t, c)
	time.Sleep(5 * clockStep) // what is closer to Open than that may count
	s := open(t, "netlink")
	settled(t, s, srv.port)
	segments := inSegs(t)
	if err := c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second}); err != nil {
		t.Fatal(err)
	}
	until(t, "a keepalive and its answer", func() bool { return inSegs(t) >= segments+2 })
	if list := look(t, s, srv.port); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}

func inSegs(t testing.TB) uint64 {
	t.Helper()
	c, err := openCounters("/proc")
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.tcp()
	if err != nil {
		t.Fatal(err)
	}
	return n.segs
}

// While nothing comes, nothing is reported, and proc need not read the tables.
func TestIdle(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		needQuiet(t)
		srv := serve(t, nil)
		for range 100 {
			ask(t, dial(t, "127.0.0.1", srv.port))
		}
		time.Sleep(5 * clockStep)
		s := open(t, which)
		settled(t, s, srv.port)
		time.Sleep(2 * settle)
		settled(t, s, srv.port)
		walks := walksOf(s)
		for range 10 {
			if list := lookAll(t, s, srv.port); len(list) > 0 {
				t.Errorf("%+v", list)
			}
		}
		if n := walksOf(s) - walks; n > 0 && which == "proc" {
			t.Errorf("%d passes through the tables, want 0", n)
		}
	})
}

func walksOf(s Source) int {
	switch s := s.(type) {
	case *netlinkSource:
		return s.dumper.dumps
	case *procSource:
		return s.tables.reads
	}
	return 0
}

// Whatever comes, and however a look falls into it: what a look says is never
// older than the last that came.
func TestNeverEarly(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		l, port := listen(t, net.ListenConfig{}, "tcp", "[::]:0")
		serveOn(t, l, nil)
		s := open(t, which)
		settled(t, s, port)
		hosts := []string{"127.0.0.1", "::1"}
		kept := []*net.TCPConn{dial(t, hosts[0], port), dial(t, hosts[1], port)}
		random := rand.New(rand.NewPCG(1, 2))
		var last, reported time.Time
		for range 60 {
			for range random.IntN(4) {
				last = time.Now()
				switch k := random.IntN(5); k {
				case 0, 1:
					ask(t, kept[k])
				case 2:
					kept[0].Close()
					kept[0] = dial(t, hosts[0], port)
				default:
					c := dial(t, hosts[k-3], port)
					ask(t, c)
					if random.IntN(2) == 0 {
						reset(c)
					}
					c.Close()
				}
				time.Sleep(time.Duration(random.IntN(10)) * time.Millisecond)
			}
			time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
			list := look(t, s, port)
			if at := newest(list); at.After(reported) {
				reported = at
			}
			if reported.Before(last) {
				t.Fatalf("the newest is reported at %s, %s early: %+v", reported, last.Sub(reported), list)
			}
		}
	})
}

// ports more than the kernel filters, and none of them but one in use.
func TestManyPorts(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		srv, other := serve(t, nil), serve(t, nil)
		for _, n := range []int{2, 3, maxFilterPorts, maxFilterPorts + 1, 5000} {
			s := open(t, which)
			ports := []uint16{srv.port}
			for p := uint16(1000); len(ports) < n; p++ {
				if p != srv.port && p != other.port {
					ports = append(ports, p)
				}
			}
			slices.Sort(ports)
			settled(t, s, ports...)
			ask(t, dial(t, "127.0.0.1", other.port))
			ask(t, dial(t, "127.0.0.1", srv.port))
			list := look(t, s, ports...)
			if count(list, Connection) != 1 || list[0].Port != srv.port {
				t.Errorf("%d ports: %+v", n, list)
			}
		}
	})
}

// Where a pass through the tables is expensive, requests on connections that are
// known to be open are reported without one. Anything else is not.
func TestProcSparesPasses(t *testing.T) {
	needQuiet(t)
	srv := serve(t, nil)
	c := dial(t, "127.0.0.1", srv.port)
	ask(t, c)
	s := open(t, "proc").(*procSource)
	settled(t, s, srv.port)
	s.took = time.Hour
	reads := walksOf(s)
	for range 3 {
		before := time.Now()
		ask(t, c)
		if list := look(t, s, srv.port); count(list, Request) != 1 || newest(list).Before(before) {
			t.Errorf("a request: %+v", list)
		}
	}
	if n := walksOf(s) - reads; n > 0 {
		t.Errorf("%d passes through the tables, want 0", n)
	}
	before := time.Now()
	ask(t, dial(t, "127.0.0.1", srv.port))
	if list := look(t, s, srv.port); count(list, Connection) != 1 || newest(list).Before(before) {
		t.Errorf("a connection: %+v", list)
	}
	if n := walksOf(s) - reads; n != 1 {
		t.Errorf("%d passes through the tables, want 1", n)
	}
}

// The accept queues come out of the pass that a look makes anyway.
func TestProcLooksOnce(t *testing.T) {
	needQuiet(t)
	srv := serve(t, nil)
	s := open(t, "proc").(*procSource)
	settled(t, s, srv.port)
	reads := walksOf(s)
	ask(t, dial(t, "127.0.0.1", srv.port))
	look(t, s, srv.port)
	if n := walksOf(s) - reads; n != 1 {
		t.Errorf("%d passes through the tables, want 1", n)
	}
}
