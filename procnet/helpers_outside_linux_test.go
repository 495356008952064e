package procnet

import (
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"testing"

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
