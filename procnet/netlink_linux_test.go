package procnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openedNetlink(t testing.TB, opts ...Option) *netlinkSource {
	t.Helper()
	return open(t, "netlink", opts...).(*netlinkSource)
}

// When the kernel has to drop events, a look says so.
func TestLostEvents(t *testing.T) {
	srv := serve(t, nil)
	s := openedNetlink(t, ReceiveBuffer(1))
	settled(t, s, srv.port)
	s.events.pumping.Lock() // the reader is slow
	before := time.Now()
	for range 200 {
		c := dial(t, "127.0.0.1", srv.port)
		ask(t, c)
		c.Close()
	}
	s.events.pumping.Unlock()
	list := look(t, s, srv.port)
	if count(list, Lost) == 0 || newest(list).Before(before) {
		t.Errorf("%d arrivals, %d of them lost", len(list), count(list, Lost))
	}
	settled(t, s, srv.port)
}

// More events than are kept between two looks are merged, none is forgotten, and
// as long as there is room it is known from whom they came.
func TestMergedEvents(t *testing.T) {
	var e events
	const extra = 10
	r := row{state: 7, family: familyInet, sport: 80, dport: 4000, dst: [16]byte{10, 0, 0, 1}, hasAge: true}
	client := group{peer: r.dst, port: 80, family: familyInet}
	for i := range maxEvents + extra {
		r.cookie++
		e.add(&r, time.Duration(i)*time.Millisecond)
	}
	b := e.take(nil)
	m := b.merged[client]
	if len(b.list) != maxEvents || m.count != extra || m.at != (maxEvents+extra-1)*time.Millisecond {
		t.Errorf("%d events, and merged %+v", len(b.list), b.merged)
	}
	if got := client.addr(); got != netip.MustParseAddrPort("10.0.0.1:0") {
		t.Errorf("the client is %s", got)
	}

	for range maxEvents {
		e.add(&r, 0)
	}
	for i := range maxGroups + extra {
		host.PutUint32(r.dst[:], uint32(i+1))
		e.add(&r, time.Second)
	}
	b = e.take(nil)
	if m := b.merged[group{port: 80}]; len(b.merged) != maxGroups+1 || m.count != extra || m.at != time.Second {
		t.Errorf("%d groups, and of unknown peer %+v", len(b.merged), m)
	}
	if got := (group{port: 80}).addr(); got.IsValid() {
		t.Errorf("an unknown peer is %s", got)
	}

	e.want(portsOf([]uint16{80}), true)
	r.sport, r.dst = 40000, [16]byte{10, 0, 0, 1} // the pod's own
	for range maxEvents {
		e.add(&r, 0)
	}
	client.port = 40000
	if b := e.take(nil); len(b.list) != maxEvents/2 || b.merged[client].count != maxEvents/2 {
		t.Errorf("another port takes %d events", len(b.list))
	}
	e.want(portsOf([]uint16{80}), false)
	e.add(&r, 0)
	if b := e.take(nil); len(b.list) != 0 {
		t.Errorf("unwanted: %+v", b.list)
	}
}

// What another port's connections do costs no room, so that nothing is lost by
// it, however little there is.
func TestBusyNeighbour(t *testing.T) {
	srv, neighbour := serve(t, nil), serve(t, answer(wait))
	s := openedNetlink(t, ReceiveBuffer(1))
	settled(t, s, srv.port)
	s.events.pumping.Lock() // the reader is slow
	for range 500 {
		c := dial(t, "127.0.0.1", neighbour.port)
		ask(t, c)
		c.Close()
	}
	s.events.pumping.Unlock()
	if list := look(t, s, srv.port); len(list) > 0 {
		t.Errorf("the neighbour's: %+v", list)
	}
	// Asked about, it is heard of again, as is everybody when nobody is named.
	s = openedNetlink(t)
	settled(t, s, srv.port)
	for _, ports := range [][]uint16{{srv.port, neighbour.port}, nil} {
		settled(t, s, ports...)
		c := dial(t, "127.0.0.1", neighbour.port)
		ask(t, c)
		c.Close()
		s.listeners.ports.add(neighbour.port, netip.IPv4Unspecified())
		if list := look(t, s, ports...); count(list, Connection) != 1 {
			t.Errorf("ports %v: %+v, want a connection", ports, list)
		}
	}
}

// A pod in which nothing happens is walked through once, at the start.
func TestOneWalkWhereNothingCame(t *testing.T) {
	needQuiet(t)
	srv := serve(t, nil)
	ask(t, dial(t, "127.0.0.1", srv.port))
	s := openedNetlink(t)
	for range 3 {
		if list := look(t, s, srv.port); len(list) > 0 {
			t.Errorf("%+v", list)
		}
	}
	if n := walksOf(s); n != 1 {
		t.Errorf("%d walks, want 1", n)
	}
}

// While no connection ends, the reader sleeps.
func TestReaderSleeps(t *testing.T) {
	needQuiet(t)
	s := openedNetlink(t)
	pumps := func() int {
		s.events.pumping.Lock()
		defer s.events.pumping.Unlock()
		return s.events.pumps
	}
	look(t, s) // what ended in the tests before has been heard of
	time.Sleep(2 * gathering * time.Millisecond)
	before := pumps()
	time.Sleep(10 * gathering * time.Millisecond)
	if n := pumps() - before; n > 0 {
		t.Errorf("it has read %d times for nothing", n)
	}
}

// Nobody but the kernel can tell the source anything, not even root.
func TestOnlyTheKernelIsHeard(t *testing.T) {
	s := openedNetlink(t)
	sockets := map[string]int{"subscriber": s.events.fd}
	if err := s.dumper.raw.Control(func(fd uintptr) { sockets["dumper"] = int(fd) }); err != nil {
		t.Fatal(err)
	}
	for name, to := range sockets {
		addr, err := unix.Getsockname(to)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		forged := make([]byte, headerLen)
		host.PutUint32(forged, headerLen)
		if err := unix.Sendto(fd, forged, 0, addr); !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EPERM) {
			t.Errorf("a forged message to the %s: %v", name, err)
		}
	}
}

// Without its reader the source would see nothing more: that is an error.
func TestReaderDies(t *testing.T) {
	srv := serve(t, nil)
	s := openedNetlink(t)
	settled(t, s, srv.port)
	boom := errors.New("boom")
	s.events.fail(boom)
	err := s.Arrivals(t.Context(), []uint16{srv.port}, func(Arrival) {})
	if !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
}

func TestClosed(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		s, _, err := Open(which)
		if err != nil {
			t.Skip("needs the source: ", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Arrivals(t.Context(), nil, func(Arrival) {}); err == nil {
			t.Error("arrivals after the end")
		}
	})
}

func TestCancelled(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		srv := serve(t, nil)
		s := open(t, which)
		settled(t, s, srv.port)
		ask(t, dial(t, "127.0.0.1", srv.port))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Arrivals(ctx, []uint16{srv.port}, func(Arrival) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		// Nothing got lost by it.
		if list := look(t, s, srv.port); count(list, Connection) == 0 {
			t.Errorf("%+v", list)
		}
	})
}

// The kernel of today has the older request, too; the newer must do as well.
func TestByFamily(t *testing.T) {
	l, port := listen(t, net.ListenConfig{}, "tcp", "[::]:0")
	serveOn(t, l, nil)
	s := openedNetlink(t)
	s.dumper.byFamily = true
	settled(t, s, port)
	ask(t, dial(t, "127.0.0.1", port))
	ask(t, dial(t, "::1", port))
	if list := look(t, s, port); count(list, Connection) != 2 {
		t.Errorf("%+v", list)
	}
}

// Without /proc there is no gate and no ListenDrops, but the same answers.
func TestWithoutProc(t *testing.T) {
	srv := serve(t, nil)
	s := openedNetlink(t, ProcRoot(t.TempDir()))
	settled(t, s, srv.port)
	c := dial(t, "127.0.0.1", srv.port)
	ask(t, c)
	if list := look(t, s, srv.port); count(list, Connection) != 1 {
		t.Errorf("%+v", list)
	}
	settled(t, s, srv.port)
	walks := walksOf(s)
	look(t, s, srv.port)
	if walksOf(s) == walks {
		t.Error("no walk, but no counter to know by")
	}
}

// A dump costs the same memory however many rows it has.
func TestNoAllocationPerRow(t *testing.T) {
	srv := serve(t, nil)
	const rows = 500
	for range rows {
		dial(t, "127.0.0.1", srv.port)
	}
	s := openedNetlink(t)
	settled(t, s, srv.port)
	ports := portsOf([]uint16{srv.port})
	n := testing.AllocsPerRun(10, func() {
		if err := s.connections(t.Context(), ports, func(Arrival) {}); err != nil {
			t.Error(err)
		}
	})
	if n > rows/5 {
		t.Errorf("%.0f allocations for %d rows", n, rows)
	}
	p := open(t, "proc").(*procSource)
	n = testing.AllocsPerRun(10, func() {
		if err := p.survey(t.Context(), &survey{ports: ports}); err != nil {
			t.Error(err)
		}
	})
	if n > rows/5 {
		t.Errorf("proc: %.0f allocations for %d rows", n, rows)
	}
}
