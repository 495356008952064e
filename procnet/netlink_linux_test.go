package procnet

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openedNetlink(t testing.TB) *netlinkSource {
	t.Helper()
	return open(t, "netlink").(*netlinkSource)
}

// smallBuffer opens the source with the least room for events.
func smallBuffer(t testing.TB) *netlinkSource {
	t.Helper()
	o := defaults()
	o.receiveBuffer = 1
	return openWith(t, "netlink", o).(*netlinkSource)
}

// When the kernel has to drop events, a look says so.
func TestLostEvents(t *testing.T) {
	srv := serve(t, nil)
	s := smallBuffer(t)
	settled(t, s, srv.port)
	s.ends.pumping.Lock() // the reader is slow
	before := time.Now()
	for range 200 {
		c := dial(t, "127.0.0.1", srv.port)
		ask(t, c)
		c.Close()
	}
	s.ends.pumping.Unlock()
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
	client := origin{peer: r.dst, port: 80, family: familyInet}
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
	for i := range maxOrigins + extra {
		native.PutUint32(r.dst[:], uint32(i+1))
		e.add(&r, time.Second)
	}
	b = e.take(nil)
	if m := b.merged[origin{port: 80}]; len(b.merged) != maxOrigins+1 || m.count != extra || m.at != time.Second {
		t.Errorf("%d groups, and of unknown peer %+v", len(b.merged), m)
	}
	if got := (origin{port: 80}).addr(); got.IsValid() {
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
	s := smallBuffer(t)
	settled(t, s, srv.port)
	s.ends.pumping.Lock() // the reader is slow
	for range 500 {
		c := dial(t, "127.0.0.1", neighbour.port)
		ask(t, c)
		c.Close()
	}
	s.ends.pumping.Unlock()
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

// While no connection ends, the reader sleeps.
func TestReaderSleeps(t *testing.T) {
	needQuiet(t)
	s := openedNetlink(t)
	pumps := func() int {
		s.ends.pumping.Lock()
		defer s.ends.pumping.Unlock()
		return s.ends.pumps
	}
	look(t, s)
	for range 20 { // connections of the tests before may still end
		before := pumps()
		time.Sleep(10 * gathering * time.Millisecond)
		if pumps() == before {
			return
		}
	}
	t.Error("it goes on reading for nothing")
}

// Nobody but the kernel can tell the source anything, not even root.
func TestOnlyTheKernelIsHeard(t *testing.T) {
	s := openedNetlink(t)
	sockets := map[string]int{"subscriber": s.ends.fd}
	raw, err := s.dumper.file.(*os.File).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { sockets["dumper"] = int(fd) }); err != nil {
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
		native.PutUint32(forged, headerLen)
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
	s.ends.fail(boom)
	_, err := s.Arrivals(t.Context(), []uint16{srv.port}, func(Arrival) {}, nil)
	if !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
}

// A dump that fails is tried once more before the sockets count as lost.
func TestFailedDumpIsRepeated(t *testing.T) {
	srv := serve(t, nil)
	s := openedNetlink(t)
	settled(t, s, srv.port)
	ask(t, dial(t, "127.0.0.1", srv.port))
	for range 2 {
		s.dumper.file.Close()
		if list := look(t, s, srv.port); count(list, Lost) > 0 {
			t.Errorf("%+v", list)
		}
	}
	// The dump of the connections fails half-way, and shows some of them again.
	for range 3 {
		dial(t, "127.0.0.1", srv.port)
	}
	rows := 0
	var list []Arrival
	_, err := s.Arrivals(t.Context(), []uint16{srv.port}, func(a Arrival) {
		if rows++; rows == 2 {
			s.dumper.seq++ // so that the kernel's last word is not recognised
			s.dumper.file.Close()
		}
		list = append(list, a)
	}, nil)
	if err != nil || count(list, Connection) != 3 {
		t.Errorf("%+v, %v, want 3 connections", list, err)
	}
}

// What a person is told of the kernel's refusals.
func TestDumpRefused(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.EOPNOTSUPP: "socket dump: the kernel has no module inet_diag: operation not supported",
		unix.ENOENT:     "socket dump: the kernel has no module tcp_diag: no such file or directory",
		unix.EPERM:      "socket dump: operation not permitted",
	} {
		err := dumpError(refusal{errno})
		if err.Error() != want || !errors.Is(err, errno) {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestClosed(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		s, _, err := Open(which)
		if err != nil {
			t.Skip("needs the source: ", err)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Arrivals(t.Context(), nil, func(Arrival) {}, nil); err == nil {
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
		if _, err := s.Arrivals(ctx, []uint16{srv.port}, func(Arrival) {}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		// Nothing got lost by it.
		if list := look(t, s, srv.port); count(list, Connection) == 0 {
			t.Errorf("%+v", list)
		}
	})
}

// Without /proc there is no ListenDrops, but the same answers.
func TestWithoutProc(t *testing.T) {
	srv := serve(t, nil)
	o := defaults()
	o.procRoot = t.TempDir()
	s := openWith(t, "netlink", o)
	settled(t, s, srv.port)
	c := dial(t, "127.0.0.1", srv.port)
	ask(t, c)
	if list := look(t, s, srv.port); count(list, Connection) != 1 {
		t.Errorf("%+v", list)
	}
	settled(t, s, srv.port)
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
		if err := s.dumpConnections(t.Context(), ports, func(Arrival) {}); err != nil {
			t.Error(err)
		}
	})
	if n > rows/5 {
		t.Errorf("%.0f allocations for %d rows", n, rows)
	}
	p := open(t, "proc").(*procSource)
	p.sampler.Close() // or its ticks would be counted too
	n = testing.AllocsPerRun(10, func() {
		if err := p.readTables(t.Context(), &pass{ports: ports}); err != nil {
			t.Error(err)
		}
	})
	if n > rows/5 {
		t.Errorf("proc: %.0f allocations for %d rows", n, rows)
	}
}
