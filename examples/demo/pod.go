package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	podArg = "pod" // the argument that makes the demo a pod
	// drainPath is where the app is asked to let its clients go: it closes each connection after the
	// next answer.
	drainPath = "/drain"
	// work is what a request takes: time enough to be caught in the middle.
	work = 5 * time.Millisecond
)

// servePod is the app in a pod: an HTTP server that on SIGTERM closes its
// listener at once and finishes what it has. It prints its port, and ends when
// its standard input does: then the demo is gone.
func servePod(args []string) int {
	signal.Ignore(os.Interrupt) // a Ctrl-C is the demo's, which ends its pods
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	l, err := listen(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "pod: %v\n", err)
		return 1
	}
	name := strings.Join(args, " ")
	var draining atomic.Bool
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == drainPath {
			draining.Store(true)
		}
		if draining.Load() {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20))
		time.Sleep(work)
		fmt.Fprintln(w, "hello from", name)
	})}
	fmt.Println(portOf(l))
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(os.Stderr, "pod: %v\n", err)
			os.Exit(1)
		}
	}()
	<-ctx.Done()
	if err := srv.Shutdown(context.Background()); err != nil {
		return 1
	}
	return 0
}

// pod is a pod as its kubelet sees it: a process.
type pod struct {
	Name, UID string
	Port      uint16
	process   *os.Process
	exited    chan struct{}
}

// startPod returns when the pod serves. It is killed when ctx is done, at the
// latest.
func startPod(ctx context.Context, owned *sync.WaitGroup, name string) (*pod, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, podArg, name)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("pod %s does not start: %w", name, errors.Join(context.Cause(ctx), err))
	}
	p := &pod{Name: name, UID: newUID(), process: cmd.Process, exited: make(chan struct{})}
	line, err := bufio.NewReader(io.LimitReader(stdout, 16)).ReadString('\n')
	owned.Go(func() {
		defer close(p.exited)
		defer stdin.Close()
		_ = cmd.Wait() // however it ended: it is gone
	})
	if err == nil {
		_, err = fmt.Sscan(line, &p.Port)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, fmt.Errorf("pod %s does not start: %w", name, errors.Join(context.Cause(ctx), err))
	}
	return p, nil
}

// terminate sends SIGTERM, and SIGKILL when the pod has not ended after grace.
func (p *pod) terminate(ctx context.Context, grace time.Duration) (killed bool, err error) {
	if err := p.process.Signal(syscall.SIGTERM); err != nil {
		return false, fmt.Errorf("SIGTERM to %s: %w", p.Name, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-timer.C:
		_ = p.process.Kill() // an error means that it has just ended
		return true, nil
	}
}
