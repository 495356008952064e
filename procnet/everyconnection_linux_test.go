package procnet

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"lull/testdata/crowd"
	"lull/testdata/ownnet"
)

// These tests count: of every connection that was made, however short it was, it
// is known to which port it came and from whom.

// answer is how a connection that lives for less than a millisecond goes on the
// server's side: one byte in, the same out, and then end.
func answer(end func(*net.TCPConn)) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		defer c.Close()
		b := make([]byte, 1)
		if _, err := c.Read(b); err == nil {
			c.Write(b)
			end(c)
		}
	}
}

// wait is the other side's part.
func wait(c *net.TCPConn) { c.Read(make([]byte, 1)) }

func closed(c *net.TCPConn) { c.Close() }

func reset(c *net.TCPConn) { c.SetLinger(0); c.Close() }

// clients are those who came to a port, and how often.
type clients map[netip.AddrPort]int

// TestEveryConnection makes connections at a rate, and then asks once.
func TestEveryConnection(t *testing.T) {
	long(t)
	ways := []struct {
		name           string
		server, client func(*net.TCPConn)
		accept         bool
	}{
		{"client closes", wait, closed, true},
		{"server closes", closed, wait, true},
		{"client resets", wait, reset, true},
		{"server resets", reset, wait, true},
		{"never accepted", nil, nil, false},
	}
	for _, way := range ways {
		for _, rate := range []int{10, 100, 1000, 5000} {
			t.Run(fmt.Sprintf("%s, %d a second", way.name, rate), func(t *testing.T) {
				n := max(10, rate/2)
				if rate != 100 {
					long(t)
				}
				if testing.Short() {
					n /= 2
				}
				both(t, func(t *testing.T, which string) {
					l, port := listen(t, net.ListenConfig{}, "tcp4", "0.0.0.0:0")
					if way.accept {
						serveOn(t, l, answer(way.server))
					}
					s := open(t, which)
					settled(t, s, port)
					came, last := clients{}, time.Time{}
					began := time.Now()
					for i := range n {
						time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
						last = time.Now()
						c := dialFrom(t, i, port)
						came[c.LocalAddr().(*net.TCPAddr).AddrPort()]++
						if way.accept {
							ask(t, c)
							way.client(c)
							c.Close()
						}
					}
					took := time.Since(began)
					if !way.accept {
						l.Close() // resets them
					}
					list := look(t, s, port)
					if at := newest(list); at.Before(last) {
						t.Errorf("newest arrival %s before the last connection", last.Sub(at))
					}
					t.Logf("%d connections, %.0f a second: %d seen", n, float64(n)/took.Seconds(), count(list, Connection))
					if which == "netlink" {
						came.check(t, list, port)
					} else if got := count(list, Connection); got < n {
						t.Errorf("%d connections, want %d", got, n)
					}
				})
			})
		}
	}
}

// dialFrom connects from the i-th of many loopback addresses.
func dialFrom(t testing.TB, i int, port uint16) *net.TCPConn {
	t.Helper()
	from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i%50), 1)}
	c, err := net.DialTCP("tcp4", from, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	c.SetKeepAlive(false)
	t.Cleanup(func() { c.Close() })
	return c
}

// check checks that the arrivals tell of each connection once, of each by its client. A connection
// that was reset by its own side has lost the client's port, not the address. One that ends while
// the look goes on may be reported as a request in addition.
func (came clients) check(t *testing.T, list []Arrival, port uint16) {
	t.Helper()
	hosts := map[netip.Addr]int{}
	for peer, n := range came {
		hosts[peer.Addr()] += n
	}
	seen := make(map[uint64]bool)
	for _, a := range list {
		switch {
		case a.Port != port || a.Count != 1 || seen[a.Conn] != (a.Kind == Request):
			t.Fatalf("arrival %+v", a)
		case a.Kind == Request:
			continue
		case a.Peer.Port() != 0 && came[a.Peer] == 0, hosts[a.Peer.Addr()] == 0:
			t.Fatalf("nobody there: %+v", a)
		}
		seen[a.Conn] = true
		hosts[a.Peer.Addr()]--
		if a.Peer.Port() != 0 {
			came[a.Peer]--
		}
	}
	for host, n := range hosts {
		if n != 0 {
			t.Errorf("%d connections from %s were not seen", n, host)
		}
	}
}

// Ten thousand connections that end at once are heard of, each or all together.
func TestManyEndAtOnce(t *testing.T) {
	long(t)
	const n, port = 10_000, 18090
	needQuiet(t)
	for _, before := range []string{"new", "known"} {
		t.Run(before, func(t *testing.T) {
			s := openedNetlink(t)
			look(t, s, port)
			var c crowd.Crowd
			t.Cleanup(c.Kill)
			if err := c.Hold(port, n); err != nil {
				t.Fatal(err)
			}
			if before == "known" {
				if got := count(look(t, s, port), Connection); got != n {
					t.Fatalf("%d connections, want %d", got, n)
				}
				settled(t, s, port)
			}
			killed := time.Now()
			c.Kill()
			list := look(t, s, port)
			lost := count(list, Lost)
			t.Logf("%d ended: %d reported as new, %d as requests, %d as lost", n, count(list, Connection), count(list, Request), lost)
			switch {
			case lost > 0 && newest(list).Before(killed):
				t.Error("what was lost is reported as older than it can be")
			case lost > 0:
			case before == "new" && count(list, Connection) != n:
				t.Errorf("%d connections, want %d", count(list, Connection), n)
			case before == "known" && len(list) > 0:
				t.Errorf("%d idle connections that were known ended: %d arrivals, like %+v", n, len(list), list[0])
			}
			settled(t, s, port)
		})
	}
}

// smallHash is a hash of connections so small that each of its buckets is long.
const smallHash = 16

// TestDumpsUnderChurn: a dump stops many times, within buckets, and goes on while connections come
// and go there. None of those that stay may be missed. The hash is the machine's unless its parent
// says otherwise, so the test starts itself in a namespace with a small one.
func TestDumpsUnderChurn(t *testing.T) {
	long(t)
	needQuiet(t)
	size, err := os.ReadFile("/proc/sys/net/ipv4/tcp_ehash_entries")
	if err != nil {
		t.Skip("needs Linux 6.1: ", err)
	}
	if string(bytes.TrimSpace(size)) == fmt.Sprint(smallHash) {
		both(t, churn)
		return
	}
	const children = "/proc/sys/net/ipv4/tcp_child_ehash_entries"
	if err := os.WriteFile(children, fmt.Append(nil, smallHash), 0o644); err != nil {
		t.Skip("needs to choose the size of a child's hash: ", err)
	}
	defer os.WriteFile(children, []byte("0"), 0o644)
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	defer ownnet.Enter(c)()
	out, err := c.CombinedOutput()
	if t.Log(string(out)); err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Error("in a small hash: ", err)
	}
}

func churn(t *testing.T, which string) {
	srv := serve(t, nil)
	kept := make([]*net.TCPConn, 2000)
	for i := range kept {
		kept[i] = dialFrom(t, i, srv.port)
		ask(t, kept[i])
	}
	s := open(t, which)
	settled(t, s, srv.port)
	stop := make(chan struct{})
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c := dialFrom(t, i, srv.port)
				ask(t, c)
				c.Close()
			}
		})
	}
	defer group.Wait()
	defer close(stop)
	const rounds = 10
	missed, lost := 0, 0
	peers := make(map[uint64]netip.AddrPort)
	for range rounds {
		asked := make(map[netip.AddrPort]time.Time)
		for _, c := range kept {
			asked[c.LocalAddr().(*net.TCPAddr).AddrPort()] = time.Now()
			ask(t, c)
		}
		over := time.Now()
		for _, a := range look(t, s, srv.port) {
			peer := a.Peer
			if peer.IsValid() {
				peers[a.Conn] = peer
			} else {
				peer = peers[a.Conn]
			}
			switch at, ok := asked[peer]; {
			case ok && !a.At.Before(at):
				delete(asked, peer)
			case a.Kind == Lost:
				lost++
				clear(asked) // it stands for all
			case which == "proc" && a.Kind == Request && !a.At.Before(over):
				clear(asked)
			}
		}
		missed += len(asked)
	}
	t.Logf("%d requests on each of %d connections, of which %d went unreported; %d times lost; %d walks", rounds, len(kept), missed, lost, walksOf(s))
	if missed > 0 {
		t.Errorf("%d requests were missed", missed)
	}
	if lost > rounds/2 {
		t.Errorf("in %d of %d rounds nothing was known but that something was lost", lost, rounds)
	}
}
