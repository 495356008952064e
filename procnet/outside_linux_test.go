package procnet

import (
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// Clients outside the pod's network namespace, as a pod's clients are.

// A server's own keepalives are answered by pure ACKs.
func TestServerKeepalives(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		o := newOutside(t)
		srv := o.serve(t, func(c *net.TCPConn) {
			c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second})
			echo(c)
		})
		ask(t, o.dial(t, srv.port))
		time.Sleep(5 * clockStep) // what is closer to Open than that may count
		s := open(t, which)
		settled(t, s, srv.port)
		segments := inSegs(t)
		until(t, "a keepalive's answer", func() bool { return inSegs(t) > segments })
		if list := look(t, s, srv.port); len(list) > 0 {
			t.Errorf("%+v", list)
		}
	})
}

// A probe that the server closes leaves a row behind, and nothing is anonymous:
// also while other connections are idle, and while the pod itself is a client.
func TestProbesHaveNames(t *testing.T) {
	long(t)
	needQuiet(t)
	// Each leaves a TIME_WAIT row. Where memory is short, other tests have used up the room.
	setSysctl(t, "net/ipv4/tcp_max_tw_buckets", "100000")
	both(t, func(t *testing.T, which string) {
		o := newOutside(t)
		srv := o.serve(t, answer(func(c *net.TCPConn) { c.Close() }))
		s := open(t, which)
		settled(t, s, srv.port)
		for range 3 {
			before := time.Now()
			c := o.dial(t, srv.port)
			ask(t, c)
			wait(c)
			c.Close()
			after := time.Now()
			time.Sleep(5 * tickEvery)
			list := look(t, s, srv.port)
			if len(list) != 1 || list[0].Kind != Connection || list[0].Peer != c.LocalAddr().(*net.TCPAddr).AddrPort() {
				t.Fatalf("%+v, want one connection from %s", list, c.LocalAddr())
			}
			if at := list[0].At; at.Before(before) || at.Sub(after) >= 5*tickEvery {
				t.Errorf("probed from %s to %s, reported at %s", before, after, at)
			}
		}
	})
}

// What the pod itself fetches is no arrival as long as nobody is connected.
func TestOwnQueries(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		o := newOutside(t)
		srv := o.serve(t, nil)
		var l net.Listener
		var err error
		o.do(func() { l, err = net.Listen("tcp4", o.client+":0") })
		if err != nil {
			t.Fatal(err)
		}
		upstream := serveOn(t, l, nil)
		s := open(t, which)
		settled(t, s, srv.port)
		for range 10 {
			c := dial(t, o.client, upstream.port)
			ask(t, c)
			c.Close()
		}
		if list := look(t, s, srv.port); len(list) > 0 {
			t.Errorf("%+v", list)
		}
	})
}

// upstream is an echo server in the clients' namespace, and this process's connection to it.
func (o *outside) upstream(t *testing.T) *net.TCPConn {
	t.Helper()
	var l net.Listener
	var err error
	o.do(func() { l, err = net.Listen("tcp4", o.client+":0") })
	if err != nil {
		t.Fatal(err)
	}
	return dial(t, o.client, serveOn(t, l, nil).port)
}

// What this process itself receives is no request, though a client is connected.
func TestOwnTraffic(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		o := newOutside(t)
		srv := o.serve(t, nil)
		client, own := o.dial(t, srv.port), o.upstream(t)
		ask(t, client)
		ask(t, own)
		time.Sleep(5 * clockStep) // what is closer to Open than that may count
		s := open(t, which)
		settled(t, s, srv.port)
		for range 3 {
			time.Sleep(3 * tickEvery)
			ask(t, own)
			time.Sleep(3 * tickEvery)
			if list := look(t, s, srv.port); len(list) > 0 {
				t.Errorf("this process's own: %+v", list)
			}
		}
		before := time.Now()
		ask(t, own)
		ask(t, client)
		if list := look(t, s, srv.port); count(list, Request) == 0 || newest(list).Before(before) {
			t.Errorf("a request beside it: %+v", list)
		}
	})
}

// However much this process receives, it must not hide a request.
func TestOwnTrafficHidesNothing(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		o := newOutside(t)
		srv := o.serve(t, nil)
		client, own := o.dial(t, srv.port), o.upstream(t)
		ask(t, client)
		s := open(t, which)
		settled(t, s, srv.port)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			random := rand.New(rand.NewPCG(3, 4))
			b := make([]byte, 60_000)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(random.IntN(250)) * time.Millisecond):
				}
				n := 1 + random.IntN(2)*random.IntN(len(b)) // many segments, which may arrive as one
				own.SetDeadline(time.Now().Add(deadline))
				own.Write(b[:n])
				io.ReadFull(own, b[:n])
			}
		}()
		defer func() { close(stop); <-done }()
		random := rand.New(rand.NewPCG(1, 2))
		var last, reported time.Time
		quiet := 0
		for range 60 {
			if random.IntN(2) == 0 {
				last = time.Now()
				ask(t, client)
			}
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			list := look(t, s, srv.port)
			if len(list) == 0 {
				quiet++
			}
			if at := newest(list); at.After(reported) {
				reported = at
			}
			if reported.Before(last) {
				t.Fatalf("the newest is reported at %s, %s early: %+v", reported, last.Sub(reported), list)
			}
		}
		t.Logf("%d of 60 looks found nothing", quiet)
	})
}

// A client that keeps asking another port, as scrapers do, is no concern of the watched one,
// as long as nobody is connected there. One that has said good-bye is not connected, even if
// the app does not close.
func TestNobodyConnected(t *testing.T) {
	long(t)
	both(t, func(t *testing.T, which string) {
		o := newOutside(t)
		held := make(chan *net.TCPConn, 1)
		srv := o.serve(t, func(c *net.TCPConn) { held <- c })
		scraped := o.serve(t, nil)
		own, scraper, gone := o.upstream(t), o.dial(t, scraped.port), o.dial(t, srv.port)
		<-held
		ask(t, scraper)
		gone.Close()
		s := open(t, which)
		settled(t, s, srv.port)
		for range 3 {
			ask(t, scraper)
			ask(t, own)
			time.Sleep(2 * tickEvery)
			if list := look(t, s, srv.port); len(list) > 0 {
				t.Errorf("%+v", list)
			}
		}
	})
}
