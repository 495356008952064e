package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Daemon is one long-running program of the node. It ends with the node at the latest, as all
// processes of its PID namespace do.
type Daemon struct {
	name string
	argv []string
	log  string // file that its output is appended to
	node *Node

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
}

// start runs the daemon in the node's namespaces.
func (d *Daemon) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = exec.CommandContext(context.Background(), d.argv[0], d.argv[1:]...)
	d.cmd.Env = d.node.environ()
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.node.startInside(d.cmd); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	done := make(chan struct{})
	d.done = done
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(done)
	}(d.cmd)
	return nil
}

// Signal sends the daemon a signal.
func (d *Daemon) Signal(s syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", d.name, err)
	}
	return nil
}

// Stop ends the daemon by a signal and waits for it. One that has ended already is no error.
func (d *Daemon) Stop(ctx context.Context, s syscall.Signal) error {
	select {
	case <-d.end():
		return nil
	default:
	}
	if err := d.Signal(s); err != nil {
		return err
	}
	select {
	case <-d.end():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", d.name, ctx.Err())
	}
}

// end is closed when it has been waited for; nil if it never started.
func (d *Daemon) end() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// alive returns an error with the end of the daemon's log if it has ended.
func (d *Daemon) alive() error {
	select {
	case <-d.end():
		text, _ := os.ReadFile(d.log)
		return fmt.Errorf("%s ended: %s", d.name, lastLines(string(text), 3))
	default:
		return nil
	}
}

// poll calls ready until it returns nil, ctx is done, or limit has passed; then it returns the last
// error.
func poll(ctx context.Context, limit time.Duration, what string, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ready()
		if err == nil || errors.Is(err, errFinal) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s not there after %s: %w", what, limit, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// errFinal marks an error that waiting does not cure.
var errFinal = errors.New("giving up")
