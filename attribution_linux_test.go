package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"lull/procnet"
	"lull/wait"
)

// What doesn't count must not count either if all that was ever seen of it is its
// end, and of that only an address: a connection that its own side has reset, or
// that was never accepted, or that was MPTCP, ends without the client's port.

// deaths are the ways in which a connection ends before anybody has looked.
var deaths = []struct {
	name           string
	server, client func(*net.TCPConn)
	accept, mptcp  bool
}{
	{"client closes", await, leave, true, false},
	{"app closes", leave, await, true, false},
	{"client resets", await, reset, true, false},
	{"app resets", reset, await, true, false},
	{"never accepted", nil, nil, false, false},
	{"MPTCP", leave, await, true, true},
}

func await(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) }
func leave(c *net.TCPConn) { c.Close() }
func reset(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() }

var excusedAddr = netip.MustParseAddr("127.0.0.9")

// mourn opens a source, lets connections come from excusedAddr and end, at the
// times given, and returns it with their port.
func mourn(t *testing.T, way int, times ...time.Duration) (s procnet.Source, port uint16) {
	t.Helper()
	d := deaths[way]
	var config net.ListenConfig
	config.SetMultipathTCP(d.mptcp)
	l, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	if s, _, err = procnet.Open("netlink"); err != nil {
		t.Skip("needs the source netlink: ", err)
	}
	t.Cleanup(func() { s.Close() })
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(excusedAddr, 0))}
	dialer.SetMultipathTCP(d.mptcp)
	began := time.Now()
	for _, at := range times {
		time.Sleep(time.Until(began.Add(at)))
		c, err := dialer.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if is, _ := c.(*net.TCPConn).MultipathTCP(); is != d.mptcp {
			t.Skip("needs MPTCP")
		}
		if !d.accept {
			continue
		}
		served, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			d.server(served.(*net.TCPConn))
			served.Close()
		}()
		d.client(c.(*net.TCPConn))
		c.Close()
		<-done
	}
	return s, port
}

// deleted is a pod that has left rotation, with one readiness probe.
type deleted wait.Probe

func (d deleted) View() (wait.View, <-chan struct{}) {
	return wait.View{
		SlicesKnown: true, PodKnown: true, Contact: time.Now(), Deleting: true, Grace: time.Minute,
		NodeAddrs: []netip.Addr{excusedAddr}, Probes: []wait.Probe{wait.Probe(d)}, Ports: []uint16{d.Port},
		Services: []wait.Service{{Name: "web", Serving: true, Ready: 1}},
	}, nil
}

func TestIgnoredThatEnded(t *testing.T) {
	for way, d := range deaths {
		t.Run(d.name, func(t *testing.T) {
			s, port := mourn(t, way, 0, 0, 0)
			policy := wait.Policy{Quiet: 300 * time.Millisecond, Timeout: time.Minute, Ports: []uint16{port}, Ignore: []netip.Prefix{netip.PrefixFrom(excusedAddr, 32)}}
			o := policy.Run(context.Background(), nil, sockets{s})
			if o.Reason != wait.Quiet || !o.Last.At.IsZero() {
				t.Errorf("ended with %v, last %v", o.Reason, o.Last)
			}
			// One whose end comes after the first look is counted for that once more.
			if len(o.Ignored) != 1 || o.Ignored[0].From != excusedAddr || o.Ignored[0].Count < 3 {
				t.Errorf("ignored %+v, want 3 from %s", o.Ignored, excusedAddr)
			}
		})
	}
}

func TestProbesThatEnded(t *testing.T) {
	const period = time.Second
	for way, d := range deaths {
		for _, client := range []bool{false, true} {
			name, times := d.name, []time.Duration{0, period}
			if !d.accept {
				times = times[:1] // they end together, and that is all that is known of their times
			}
			probes := len(times)
			if client { // from the same address, within a period
				name, times = name+", and a client", append(times, times[probes-1])
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, port := mourn(t, way, times...)
				policy := wait.Policy{Quiet: 300 * time.Millisecond, Timeout: time.Minute}
				o := policy.Run(context.Background(), deleted{port, period}, sockets{s})
				if o.Reason != wait.Quiet || o.Last.At.IsZero() == client {
					t.Errorf("ended with %v, last %v", o.Reason, o.Last)
				}
				if len(o.Ignored) != 1 || o.Ignored[0].From != excusedAddr || o.Ignored[0].Count != probes {
					t.Errorf("ignored %+v, want %d from %s", o.Ignored, probes, excusedAddr)
				}
			})
		}
	}
}
