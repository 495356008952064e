package servers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lull/testdata/ownnet"
)

// place is where one server runs.
type place struct {
	dir         string
	port, admin int // admin is on loopback, for servers that are asked by a request
}

// ports are given out in turn: there is nobody else in the namespace.
var ports atomic.Int32

func newPlace(t *testing.T) place {
	t.Helper()
	if !ownnet.Own {
		skip(t, "ports that nobody else uses need a network namespace of the test's own")
	}
	port := 10000 + int(ports.Add(2))
	// Servers that take another user's rights have to read what is in it.
	dir, err := os.MkdirTemp("", "servers")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as said
		t.Fatal(err)
	}
	return place{dir, port, port + 1}
}

func (p place) target() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

// write puts a file in the server's directory and returns its path.
func (p place) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // for servers that change their user
		t.Fatal(err)
	}
	return path
}

// process is a server that runs.
type process struct {
	place
	*exec.Cmd
	ended chan struct{} // closed when it has
}

// terminate ends it as the kubelet does, but for the SIGKILL.
func (p *process) terminate() error {
	err := p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		time.Sleep(4 * oneWay) // until the clients know
	case <-time.After(grace):
	}
	return err
}

// start runs a server until the test's end, and waits until it listens.
func start(t *testing.T, p place, argv []string, env ...string) *process {
	t.Helper()
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir = p.dir
	c.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", p.port), fmt.Sprintf("ADMIN_PORT=%d", p.admin), "HOME="+p.dir)
	c.Env = append(c.Env, env...)
	said, err := os.Create(filepath.Join(p.dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	c.Stdout, c.Stderr = said, said
	// Its group is ended with it: many have children. If the test is killed, it is, too.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // how it ended does not matter
		close(ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // it may have ended
		<-ended
		if text, _ := os.ReadFile(said.Name()); t.Failed() {
			t.Logf("%v said: %s", argv, text)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if answers(p.target()) {
			return &process{p, c, ended}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v does not answer on %s", argv, p.target())
		}
	}
}

// answers reports whether there is an answer of HTTP.
func answers(target string) bool {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(requestTimeout)) // what fails shows below
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 1))
	return n == 1 && err == nil
}

// signal is the way to ask by a signal.
func signal(s syscall.Signal) func(*process) error {
	return func(p *process) error { return p.Process.Signal(s) }
}

// post is the way to ask by a request on loopback.
func post(path string) func(*process) error {
	return func(p *process) error {
		url := fmt.Sprintf("http://127.0.0.1:%d%s", p.admin, path)
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, http.NoBody)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("POST %s: %s", url, answer.Status)
		}
		_ = answer.Body.Close()
		return err
	}
}

// command is the way to ask by a command.
func command(argv func(place) []string) func(*process) error {
	return func(p *process) error {
		a := argv(p.place)
		c := exec.Command(a[0], a[1:]...)
		c.Env = append(os.Environ(), "HOME="+p.dir)
		if said, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", a, err, said)
		}
		return nil
	}
}
