package faults

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"lull/testdata/ownnet"
	"lull/testdata/seccomp"
)

// place is a network and a mount namespace: a thread that is in them.
type place struct{ calls chan func() }

// newPlace makes one that ends with the test, and with it all that was started there.
func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{make(chan func())}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		failed <- enter()
		for call := range p.calls {
			call()
		}
	}()
	t.Cleanup(func() { close(p.calls) })
	if err := <-failed; err != nil {
		t.Skip("needs namespaces of its own: ", err)
	}
	return p
}

func enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	return ownnet.LoopbackUp()
}

// do calls f in the place, and waits for it. What f opens stays there.
func (p *place) do(f func()) {
	done := make(chan struct{})
	p.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// must does it, and fails the test with its error.
func (p *place) must(t *testing.T, f func() error) {
	t.Helper()
	var err error
	p.do(func() { err = f() })
	if err != nil {
		t.Fatal(err)
	}
}

// listen opens a listener in the place, until the test ends.
func (p *place) listen(t *testing.T, addr string) (l net.Listener) {
	t.Helper()
	p.must(t, func() (err error) {
		var config net.ListenConfig
		l, err = config.Listen(context.Background(), "tcp", addr)
		return err
	})
	t.Cleanup(func() { l.Close() })
	return l
}

// start starts a command in the place, which ends with it.
func (p *place) start(c *exec.Cmd) (err error) {
	c.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	p.do(func() { err = c.Start() })
	return err
}

// write writes files below a directory in a file system of the place's own.
func (p *place) write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	p.must(t, func() error {
		for name, text := range files {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

// cover mounts an empty file system on a directory.
func (p *place) cover(t *testing.T, dir string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	p.must(t, func() error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "") })
}

// refuse makes a system call fail from now on in the place, if an argument has a value.
func (p *place) refuse(t *testing.T, call, arg, value uint32, errno unix.Errno) {
	t.Helper()
	p.must(t, func() error { return seccomp.Refuse(call, arg, value, errno) })
}
