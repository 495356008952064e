package procnet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const deadline = 20 * time.Second

// long skips a test that takes seconds where only a quick answer is wanted.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds: left out by -short")
	}
}

// setSysctl sets a limit of the tests' namespace until the test is over.
func setSysctl(t testing.TB, name, value string) {
	t.Helper()
	path := "/proc/sys/" + name
	usual, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0o644)
	}
	if err != nil {
		t.Skip("needs to set a limit of its namespace: ", err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, usual, 0o644) })
}

// both runs a test on both sources. Each has a server of its own on a port that the other has not.
func both(t *testing.T, test func(t *testing.T, which string)) {
	for _, which := range []string{"netlink", "proc"} {
		t.Run(which, func(t *testing.T) {
			if which == "proc" {
				needQuiet(t)
			}
			test(t, which)
		})
	}
}

func open(t testing.TB, which string) Source {
	t.Helper()
	return openWith(t, which, defaults())
}

func openWith(t testing.TB, which string, o options) Source {
	t.Helper()
	s, _, err := openSource(which, o)
	if err != nil {
		t.Skipf("needs the source %s: %v", which, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// look is one call of Arrivals, less what waits in accept queues.
func look(t testing.TB, s Source, ports ...uint16) []Arrival {
	t.Helper()
	return slices.DeleteFunc(lookAll(t, s, ports...), func(a Arrival) bool { return a.Kind == Waiting })
}

// lookAll is one call of Arrivals; it checks what holds for every arrival.
func lookAll(t testing.TB, s Source, ports ...uint16) []Arrival {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var list []Arrival
	if _, err := s.Arrivals(ctx, ports, func(a Arrival) { list = append(list, a) }, nil); err != nil {
		t.Fatalf("arrivals: %v", err)
	}
	now := time.Now()
	for _, a := range list {
		if a.Count < 1 || a.At.IsZero() || a.At.After(now) {
			t.Errorf("arrival %+v at %s", a, now)
		}
		if a.Port != 0 && len(ports) > 0 && !slices.Contains(ports, a.Port) {
			t.Errorf("arrival %+v: not on the ports %v", a, ports)
		}
	}
	return list
}

// settled looks until nothing new arrives: what the set-up did is past.
func settled(t testing.TB, s Source, ports ...uint16) {
	t.Helper()
	until(t, "a silent look", func() bool { return len(look(t, s, ports...)) == 0 })
}

// count sums the arrivals of a kind.
func count(list []Arrival, kind Kind) (n int) {
	for _, a := range list {
		if a.Kind == kind {
			n += a.Count
		}
	}
	return n
}

// newest is the time of the newest arrival, zero if there is none.
func newest(list []Arrival) (at time.Time) {
	for _, a := range list {
		if a.At.After(at) {
			at = a.At
		}
	}
	return at
}

// until polls for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// server is a TCP server on a port of its own.
type server struct {
	net.Listener
	port uint16

	mu       sync.Mutex
	accepted []*net.TCPConn
	group    sync.WaitGroup
}

// listen opens a listener that nobody accepts from.
func listen(t testing.TB, c net.ListenConfig, network, address string) (net.Listener, uint16) {
	t.Helper()
	c.KeepAlive = -1
	l, err := c.Listen(context.Background(), network, address)
	if err != nil {
		t.Skipf("needs to listen on %s: %v", address, err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// serve starts an echo server on loopback; handle, if given, replaces the echo.
func serve(t testing.TB, handle func(*net.TCPConn)) *server {
	t.Helper()
	l, _ := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
	return serveOn(t, l, handle)
}

func serveOn(t testing.TB, l net.Listener, handle func(*net.TCPConn)) *server {
	s := &server{Listener: l, port: l.Addr().(*net.TCPAddr).AddrPort().Port()}
	if handle == nil {
		handle = echo
	}
	s.group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.accepted = append(s.accepted, c.(*net.TCPConn))
			s.mu.Unlock()
			s.group.Go(func() { handle(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	s.Close()
	s.mu.Lock()
	for _, c := range s.accepted {
		c.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
}

func echo(c *net.TCPConn) {
	defer c.Close()
	io.Copy(c, struct{ io.Reader }{c})
}

// dial connects to a local port over the address family of host.
func dial(t testing.TB, host string, port uint16) *net.TCPConn {
	t.Helper()
	addr := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), port))
	c, err := net.DialTCP("tcp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetKeepAlive(false)
	t.Cleanup(func() { c.Close() })
	return c
}

func portString(port uint16) string { return strconv.Itoa(int(port)) }

// dialFamily connects by TCP, or by MPTCP where the kernel has it.
func dialFamily(t testing.TB, address string, mptcp bool) *net.TCPConn {
	t.Helper()
	d := net.Dialer{KeepAlive: -1}
	d.SetMultipathTCP(mptcp)
	c, err := d.Dial("tcp", address)
	if err != nil {
		t.Skipf("needs %s: %v", address, err)
	}
	t.Cleanup(func() { c.Close() })
	tcp := c.(*net.TCPConn)
	if is, _ := tcp.MultipathTCP(); is != mptcp {
		t.Skipf("needs MPTCP %t: the kernel does not do it", mptcp)
	}
	return tcp
}

// checkQueue checks the length of a port's accept queue.
func checkQueue(t testing.TB, s Source, port uint16, want uint32) {
	t.Helper()
	queues, err := s.Queued(t.Context(), []uint16{port})
	if err != nil {
		t.Fatal(err)
	}
	if len(queues) != 1 || queues[0].Port != port || queues[0].Len != want {
		t.Errorf("queues %+v, want %d on port %d", queues, want, port)
	}
}

// ask sends a byte and waits for the answer.
func ask(t testing.TB, c *net.TCPConn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(deadline))
	b := []byte{'x'}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
}
