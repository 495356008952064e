// Demo shuts one pod of two down under load, four times: without a hook, with
// sleep 1, with lull, and with lull --drain. It needs Linux and the Go that go.mod
// names, and no cluster: pods, clients, the reverse proxy and a small Kubernetes API
// are processes and servers on loopback, and the four runs differ in nothing but the
// hook's command.
//
// It exits with 0 if lull lost no request where no hook lost some, with 2 elsewhere
// than on Linux, with 130 if it was interrupted, else with 1.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	buildTime = 5 * time.Minute  // at most: the first build compiles client-go
	runTime   = 90 * time.Second // for the four runs, at most
)

// outOfBudget is lull's exit code for that.
const outOfBudget = 3

func main() {
	if len(os.Args) > 1 && os.Args[1] == podArg {
		os.Exit(servePod(os.Args[2:]))
	}
	if runtime.GOOS != "linux" {
		fmt.Fprintln(os.Stderr, "demo: needs Linux: lull cannot see the sockets of "+runtime.GOOS)
		os.Exit(2)
	}
	os.Exit(run())
}

// run returns the exit code.
func run() int {
	// Whoever stops reading must not keep the demo from cleaning up.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := demo(ctx, os.Stdout)
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		return 130
	case err != nil:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

// demo builds lull, makes the runs and judges them.
func demo(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "lull-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p := plan{
		Lead: time.Second, Lag: 3 * time.Second, Length: 5 * time.Second, Grace: 30 * time.Second,
		Clients: 4, Every: 40 * time.Millisecond,
	}
	fmt.Fprintf(out, "One pod of two is deleted under load, %d requests a second, behind a proxy that hears of it\n"+
		"%s late: four times, each with another preStop hook. One more client keeps its connection to\n"+
		"the pod until the pod ends it: lull waits for it as long as --keepalive-wait says, 15s, and\n"+
		"with --drain the app is asked to let it go. Pods, clients, proxy and Kubernetes API are small\n"+
		"ones on this machine's loopback.\n\n", 2*p.Clients*int(time.Second/p.Every), p.Lag)
	lull, err := build(ctx, out, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, runTime, fmt.Errorf("not done within %s", runTime))
	defer cancel()
	var rows []row
	for _, h := range []hook{
		{Name: "no hook"},
		{Name: "sleep 1", Argv: []string{"sleep", "1"}},
		{Name: "lull", Argv: []string{lull, "--kubeconfig", "{kubeconfig}", "--namespace", namespace, "--pod", leaving,
			"--quiet", "2s", "--format", "text", "--log", "none"}},
		{Name: "lull --drain", Argv: []string{lull, "--kubeconfig", "{kubeconfig}", "--namespace", namespace, "--pod", leaving,
			"--quiet", "2s", "--format", "text", "--log", "none", "--drain", "http://127.0.0.1:{port}" + drainPath}},
	} {
		fmt.Fprintf(out, "%s\n", h)
		r, err := p.shutdown(ctx, dir, h, out)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		rows = append(rows, r)
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "%s\n", table(rows))
	if err := judge(rows); err != nil {
		return err
	}
	kept, asked := rows[len(rows)-2].Waited.Seconds(), rows[len(rows)-1].Waited.Seconds()
	fmt.Fprintf(out, "lull lost nothing. It held SIGTERM back for %.1fs, for the sake of a client that keeps its\n"+
		"connection, and for %.1fs where the app lets that client go.\n", kept, asked)
	return nil
}

// judge returns an error unless lull lost nothing where the first hook lost something,
// and all of them exited with 0.
func judge(rows []row) error {
	for _, r := range rows {
		if r.Exit == outOfBudget {
			// The pods share a network namespace, as with hostNetwork.
			return fmt.Errorf("%s exited with %d: nothing was quiet within its budget (without netlink it counts all of this machine's traffic, also that of %s)", r.Hook, r.Exit, staying)
		}
		if r.Exit != 0 {
			return fmt.Errorf("%s exited with %d instead of 0", r.Hook, r.Exit)
		}
		if r.Served == 0 {
			return fmt.Errorf("%s: no request was served", r.Hook)
		}
		if strings.HasPrefix(r.Hook, "lull") && r.Failed > 0 {
			return fmt.Errorf("%s lost %d requests", r.Hook, r.Failed)
		}
	}
	if rows[0].Failed == 0 {
		return fmt.Errorf("%s lost no request: nothing is shown", rows[0].Hook)
	}
	return nil
}

// build builds the module that the demo is part of, and returns the binary.
func build(ctx context.Context, out io.Writer, dir string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, buildTime, fmt.Errorf("not built within %s", buildTime))
	defer cancel()
	start := time.Now()
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", errors.Join(context.Cause(ctx), err))
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	if filepath.Base(strings.TrimSpace(string(mod))) != "go.mod" {
		return "", errors.New("not in a Go module: run the demo inside lull's checkout")
	}
	fmt.Fprint(out, "building lull ... ")
	binary := filepath.Join(dir, "lull")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // no C compiler needed
	cmd.WaitDelay = time.Second
	if text, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(out, "failed\n%s", text)
		return "", fmt.Errorf("go build: %w", errors.Join(context.Cause(ctx), err))
	}
	fmt.Fprintf(out, "%.1fs\n\n", time.Since(start).Seconds())
	return binary, nil
}
