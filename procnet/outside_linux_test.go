package procnet

import (
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// outside is a client in a network namespace of its own, as a pod's clients are:
// on loopback both ends of a connection count in the same InSegs.
type outside struct {
	server string // the address of the tests' namespace
	client string
	calls  chan func()
}

var outsides int // each has addresses of its own

// newOutside joins a new namespace to the tests' by a pair of devices.
func newOutside(t *testing.T) *outside {
	t.Helper()
	needQuiet(t)
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("needs ip: ", err)
	}
	outsides++
	o := &outside{
		server: fmt.Sprintf("10.9.%d.1", outsides), client: fmt.Sprintf("10.9.%d.2", outsides),
		calls: make(chan func()),
	}
	tid := make(chan int)
	go func() {
		// The thread is never unlocked, so it ends with the goroutine, and the
		// namespace with the thread.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			close(tid)
			return
		}
		tid <- unix.Gettid()
		for f := range o.calls {
			f()
		}
	}()
	t.Cleanup(func() { close(o.calls) })
	id, ok := <-tid
	if !ok {
		t.Skip("needs a second network namespace")
	}
	name := fmt.Sprintf("out%d", outsides)
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Skipf("needs ip %v: %v: %s", args, err, out)
		}
	}
	run("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(id))
	t.Cleanup(func() { exec.Command(ip, "link", "del", name).Run() })
	run("addr", "add", o.server+"/24", "dev", name)
	run("link", "set", name, "up")
	o.do(func() {
		run("addr", "add", o.client+"/24", "dev", "eth0")
		run("link", "set", "eth0", "up")
	})
	return o
}

// do runs f in the namespace. Sockets that f opens belong there.
func (o *outside) do(f func()) {
	done := make(chan struct{})
	o.calls <- func() { defer close(done); f() }
	<-done
}

func (o *outside) dial(t *testing.T, port uint16) (c *net.TCPConn) {
	t.Helper()
	var err error
	o.do(func() {
		var raw net.Conn
		d := net.Dialer{KeepAlive: -1, Timeout: deadline}
		if raw, err = d.Dial("tcp4", net.JoinHostPort(o.server, portString(port))); err == nil {
			c = raw.(*net.TCPConn)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (o *outside) serve(t *testing.T, handle func(*net.TCPConn)) *server {
	t.Helper()
	l, _ := listen(t, net.ListenConfig{}, "tcp4", o.server+":0")
	return serveOn(t, l, handle)
}

// A server's own keepalives are answered by pure ACKs.
func TestServerKeepalives(t *testing.T) {
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
