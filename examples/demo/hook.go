package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hook is a preStop hook: a command that holds SIGTERM back while it runs.
type hook struct {
	Name string
	Argv []string // empty: none. "{kubeconfig}" stands for that file, "{port}" for the pod's port
}

// String is how a user would write it, as the run's heading.
func (h hook) String() string {
	if len(h.Argv) == 0 {
		return h.Name
	}
	argv := slices.Clone(h.Argv)
	argv[0] = filepath.Base(argv[0])
	return strings.NewReplacer("{kubeconfig}", "FILE", "{port}", "PORT").Replace(strings.Join(argv, " "))
}

func (h hook) with(kubeconfig string, port uint16) hook {
	h.Argv = slices.Clone(h.Argv)
	values := strings.NewReplacer("{kubeconfig}", kubeconfig, "{port}", fmt.Sprint(port))
	for i, arg := range h.Argv {
		h.Argv[i] = values.Replace(arg)
	}
	return h
}

// run runs the hook to its end, or until ctx is done, and returns its exit
// code: -1 if it was killed. Each line that it prints goes to say as it comes.
func (h hook) run(ctx context.Context, say func(string)) (int, error) {
	if len(h.Argv) == 0 {
		return 0, nil
	}
	cmd := exec.CommandContext(ctx, h.Argv[0], h.Argv[1:]...)
	cmd.Env = slices.DeleteFunc(os.Environ(), ofAnotherPod)
	cmd.WaitDelay = time.Second
	read, write := io.Pipe()
	cmd.Stderr, cmd.Stdout = write, write
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			say(lines.Text())
		}
		// A line too long to be one: the hook must not hang for it.
		_, _ = io.Copy(io.Discard, read)
	}()
	err := cmd.Run()
	_ = write.Close() // never fails
	<-printed
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return 0, err
	}
	if cmd.ProcessState == nil {
		return -1, nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// ofAnotherPod reports whether a variable would tell the hook about a pod that
// the demo itself may run in, or change its settings.
func ofAnotherPod(variable string) bool {
	for _, prefix := range []string{"LULL_", "KUBERNETES_", "POD_"} {
		if strings.HasPrefix(variable, prefix) {
			return true
		}
	}
	return false
}
