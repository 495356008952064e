// Package crowd holds TCP connections open on loopback, as many as a test asks
// for, both ends of each. Every connection takes two open files, of which a
// process may have some 20,000, so a crowd is held by several: the test's own
// program, started again.
package crowd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// variable tells a process what it is to hold: worker, port, connections.
const variable = "CROWD_WORKER"

// perWorker is how many connections a process holds.
const perWorker = 8000

// Crowd is a number of open connections.
type Crowd struct {
	workers []*worker
}

type worker struct {
	*exec.Cmd
	port  uint16
	stdin io.WriteCloser
	out   *bufio.Reader
}

// Hold opens n more connections to a port. Each is accepted, and then idle.
func (c *Crowd) Hold(port uint16, n int) error {
	for ; n > 0; n -= perWorker {
		w := &worker{Cmd: exec.Command("/proc/self/exe"), port: port}
		w.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d", variable, len(c.workers), port, min(n, perWorker)))
		w.Stderr = os.Stderr
		w.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		stdout, err := w.StdoutPipe()
		if err != nil {
			return err
		}
		w.out = bufio.NewReader(stdout)
		if w.stdin, err = w.StdinPipe(); err != nil {
			return err
		}
		if err := w.Start(); err != nil {
			return err
		}
		c.workers = append(c.workers, w)
		if err := w.done(); err != nil {
			return err
		}
	}
	return nil
}

// Byte sends a byte on one of the connections to a port.
func (c *Crowd) Byte(port uint16) error {
	for _, w := range c.workers {
		if w.port == port {
			if _, err := fmt.Fprintln(w.stdin, "byte"); err != nil {
				return err
			}
			return w.done()
		}
	}
	return fmt.Errorf("no connection to port %d", port)
}

// Kill ends all connections at once, both ends, as SIGKILL does.
func (c *Crowd) Kill() {
	for _, w := range c.workers {
		_ = w.Process.Kill()
	}
	for _, w := range c.workers {
		_ = w.Wait()
	}
	c.workers = nil
}

// done reads a worker's word that it has done what it was asked.
func (w *worker) done() error {
	if line, err := w.out.ReadString('\n'); err != nil {
		return fmt.Errorf("crowd: a worker said %q: %w", line, err)
	}
	return nil
}

// Main must come first in TestMain: in a worker it does not return.
func Main() {
	text := os.Getenv(variable)
	if text == "" {
		return
	}
	if err := work(text); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// work opens the connections from and to loopback addresses of the worker's own.
// Plain system calls: the runtime's poller would take memory for each.
func work(text string) error {
	var worker, port, n int
	if _, err := fmt.Sscan(text, &worker, &port, &n); err != nil {
		return err
	}
	server := unix.SockaddrInet4{Port: port, Addr: [4]byte{127, byte(1 + worker>>8), byte(worker), 1}}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		// Connections to it may have ended a moment ago.
		err = unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = errors.Join(unix.Bind(listener, &server), unix.Listen(listener, 128))
	}
	if err != nil {
		return fmt.Errorf("listen on %v:%d: %w", server.Addr, port, err)
	}
	client := server
	client.Port, client.Addr[3] = 0, 2
	var last int
	for i := range n {
		if last, err = connect(&client, &server); err == nil {
			_, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		}
		if err != nil {
			return fmt.Errorf("connection %d of worker %d: %w", i, worker, err)
		}
	}
	fmt.Println("open")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); fmt.Println("sent") {
		if _, err := unix.Write(last, []byte{'x'}); err != nil {
			return err
		}
	}
	return nil
}

func connect(from, to *unix.SockaddrInet4) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if err = unix.Bind(fd, from); err == nil {
		err = unix.Connect(fd, to)
	}
	return fd, err
}
