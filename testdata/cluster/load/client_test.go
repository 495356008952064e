package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRun: new connections at the rate, and as many kept alive as asked for.
func TestRun(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r := run(ctx, options{target: s.Listener.Addr().String(), rate: 50, keepalive: 2, pace: 20 * time.Millisecond, timeout: 10 * time.Second})
	if r.Failed > 0 {
		t.Errorf("%d failed: %+v", r.Failed, r.Failures)
	}
	for _, client := range []string{"new", "get", "post"} {
		if r.Requests[client] == 0 {
			t.Errorf("no request of %q: %v", client, r.Requests)
		}
	}
	if n := float64(r.Requests["new"]); n > 50*r.Ended.Sub(r.Started).Seconds()+1 {
		t.Errorf("%.0f new connections in %s, 50 a second were asked for", n, r.Ended.Sub(r.Started))
	}
}

// TestRenew: a kept-alive client opens another connection after a while, if it is asked to.
func TestRenew(t *testing.T) {
	for _, c := range []struct {
		renew       time.Duration
		least, most int32
	}{{0, 1, 1}, {100 * time.Millisecond, 3, 10}} {
		var opened atomic.Int32
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
		s.Start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		r := run(ctx, options{target: s.Listener.Addr().String(), keepalive: 1, pace: 20 * time.Millisecond, renew: c.renew, timeout: 10 * time.Second})
		cancel()
		s.Close()
		if n := opened.Load(); n < c.least || n > c.most || r.Failed > 0 {
			t.Errorf("renew %s: %d connections, want %d to %d; %s", c.renew, n, c.least, c.most, r)
		}
	}
}

// TestKinds: each way to fail has its name.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		kind   string
		server func(net.Conn)
	}{
		{"eof", func(c net.Conn) { read(c); c.Close() }},
		{"eof", func(c net.Conn) {
			read(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
			c.Close()
		}},
		{"reset", func(c net.Conn) { read(c); c.(*net.TCPConn).SetLinger(0); c.Close() }},
		{"status", func(c net.Conn) { read(c); fmt.Fprint(c, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") }},
		{"timeout", func(net.Conn) {}},
		{"other", func(c net.Conn) { read(c); fmt.Fprint(c, "this is not HTTP\r\n\r\n") }},
		{"", func(c net.Conn) { read(c); fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") }},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conns := make(chan net.Conn, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				c.server(conn)
			}
			conns <- conn
		}()
		timeout := 10 * time.Second
		if c.kind == "timeout" {
			timeout = 100 * time.Millisecond
		}
		client := client{options: options{target: l.Addr().String(), timeout: timeout}, kind: "get"}
		if o := client.ask("GET", false); o.kind != c.kind {
			t.Errorf("kind %q (%s), want %q", o.kind, o.text, c.kind)
		}
		client.close()
		l.Close()
		if conn := <-conns; conn != nil {
			conn.Close()
		}
		if c.kind == "" {
			if o := client.ask("GET", false); o.kind != "refused" {
				t.Errorf("kind %q of a closed port, want refused", o.kind)
			}
		}
	}
}

func read(c net.Conn) {
	buf := make([]byte, 4096)
	for text := ""; !strings.Contains(text, "\r\n\r\n"); {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		text += string(buf[:n])
	}
}

func TestSource(t *testing.T) {
	for _, c := range []struct {
		prefix string
		many   int
	}{{"10.11.0.0/24", 254}, {"10.11.0.77/30", 2}, {"10.11.0.1/32", 1}, {"fd00::/64", 254}, {"fd00::4/127", 1}} {
		prefix := netip.MustParsePrefix(c.prefix)
		seen := map[netip.Addr]bool{}
		for range 1000 {
			a := source(prefix)
			if !prefix.Contains(a) {
				t.Fatalf("%s is not in %s", a, prefix)
			}
			seen[a] = true
		}
		if len(seen) != c.many {
			t.Errorf("%s: %d addresses, want %d", prefix, len(seen), c.many)
		}
	}
}
