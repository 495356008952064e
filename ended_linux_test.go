package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"lull/procnet"
	"lull/testdata/ownnet"
	"lull/wait"
)

// Ignored clients and probes must not count either where lull sees nothing of their connection but
// its end, and of that only an address: a connection that its own side has reset, or that was never
// accepted, or that was MPTCP, ends without the client's port.

// endings are the ways in which a connection ends before the first look.
var endings = []struct {
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

// ended is one run of the policy after connections from excusedAddr that have ended.
type ended struct {
	Way    int             // an index of endings
	Times  []time.Duration // when the connections come
	Period time.Duration   // of the pod's one readiness probe; 0: the address is ignored instead
}

// endedResult is how the policy ended.
type endedResult struct {
	Outcome wait.Outcome
	Lacks   string // what the machine lacks to make such connections
	Late    bool   // this machine stood still: what comes late is rightly taken for something else
}

// run is the run itself, in a namespace of its own.
func (x ended) run() (r endedResult, err error) {
	var machine stalls
	go machine.watch()
	began := time.Now()
	source, port, r, err := openAndEnd(x.Way, x.Times)
	if err != nil || r.Lacks != "" {
		return r, err
	}
	defer source.Close()
	policy := wait.Policy{Quiet: 300 * time.Millisecond, Timeout: time.Minute}
	var control wait.Cluster
	if x.Period > 0 {
		control = deleted{Port: port, Period: x.Period}
	} else {
		policy.Ports, policy.Ignore = []wait.Port{{Number: port}}, []netip.Prefix{netip.PrefixFrom(excusedAddr, 32)}
	}
	r.Outcome = policy.Run(context.Background(), control, sockets{source})
	r.Late = machine.since(began) > 100*time.Millisecond
	return r, nil
}

// openAndEnd opens a source, and then at each of the times a connection from excusedAddr, which
// ends in this way. It returns the source and the connections' port, or what the machine lacks.
func openAndEnd(way int, times []time.Duration) (s procnet.Source, port uint16, r endedResult, err error) {
	d := endings[way]
	var config net.ListenConfig
	config.SetMultipathTCP(d.mptcp)
	l, err := config.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, 0, r, err
	}
	defer l.Close()
	port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	if s, _, err = procnet.Open("netlink"); err != nil {
		r.Lacks = "the source netlink: " + err.Error()
		return nil, 0, r, nil
	}
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(excusedAddr, 0))}
	dialer.SetMultipathTCP(d.mptcp)
	began := time.Now()
	for i, at := range times {
		time.Sleep(time.Until(began.Add(at)))
		c, err := dialer.Dial("tcp4", l.Addr().String())
		if err != nil {
			return nil, 0, r, err
		}
		defer c.Close()
		if i == 0 {
			began = time.Now().Add(-at)
		}
		if is, _ := c.(*net.TCPConn).MultipathTCP(); is != d.mptcp {
			r.Lacks = "MPTCP"
			return nil, 0, r, nil
		}
		if !d.accept {
			continue
		}
		served, err := l.Accept()
		if err != nil {
			return nil, 0, r, err
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
	return s, port, r, nil
}

// deleted is a pod that has left rotation, with one readiness probe.
type deleted wait.Probe

func (d deleted) View() (wait.View, <-chan struct{}) {
	return wait.View{
		SlicesKnown: true, PodKnown: true, Contact: time.Now(), Deleting: true, Grace: time.Minute,
		NodeAddrs: []netip.Addr{excusedAddr}, Probes: []wait.Probe{wait.Probe(d)}, Ports: []wait.Port{{Number: d.Port}},
		Services: []wait.Service{{Name: "web", Serving: true, Ready: 1}},
	}, nil
}

// outcomeOf runs x in a namespace of its own: other connections would count, too.
func outcomeOf(t *testing.T, x ended) wait.Outcome {
	t.Helper()
	if !ownnet.Own {
		t.Skip("needs a network namespace of its own")
	}
	for range 20 {
		r, err := runIsolated[endedResult](t.Context(), "ended", x)
		if err != nil {
			t.Fatal(err)
		}
		if r.Lacks != "" {
			t.Skip("needs ", r.Lacks)
		}
		if !r.Late {
			return r.Outcome
		}
	}
	t.Fatal("the machine stood still in each try")
	return wait.Outcome{}
}

// TestIgnoredThatEnded checks that ended connections of ignored clients don't hold the exit.
func TestIgnoredThatEnded(t *testing.T) {
	t.Parallel()
	for way, d := range endings {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			o := outcomeOf(t, ended{Way: way, Times: []time.Duration{0, 0, 0}})
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

// TestProbesThatEnded checks that ended connections of probes don't hold the exit, and that a
// client at the same address does.
func TestProbesThatEnded(t *testing.T) {
	t.Parallel()
	const period = time.Second
	for way, d := range endings {
		for _, client := range []bool{false, true} {
			name, times := d.name, []time.Duration{0, period}
			if !d.accept {
				times = times[:1] // they all end when the listener closes, whenever they came
			}
			probes := len(times)
			if client { // from the same address, within a period
				name, times = name+", and a client", append(times, times[probes-1])
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				o := outcomeOf(t, ended{Way: way, Times: times, Period: period})
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
