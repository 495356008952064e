package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSharedProcesses: with shareProcessNamespace PID 1 is not the container's, and the story still
// reaches the container's log: the stderr of the oldest process that sees the same mounts.
func TestSharedProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "container.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// By its name the test's binary knows that it is to be lull.
	if err := os.Symlink(self, filepath.Join(dir, "lull")); err != nil {
		t.Fatal(err)
	}
	// The outer shell is the container's first process. PID 1 is outside of its mount namespace.
	// Without an inner one it would have the redirection for its own stderr as long as lull runs
	// (dash forks by vfork).
	c := exec.CommandContext(t.Context(), "/bin/sh", "-c",
		`sh -c "exec ./lull wait --endpoints=skip --port=1 --quiet=100ms 2>hook.err"; exit $?`)
	c.Dir, c.Stderr = dir, log
	c.Env = []string{"KUBERNETES_SERVICE_HOST=127.0.0.1"}
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err = c.Run()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("no mount namespaces here")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"container.log", "hook.err"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), `"event":"end"`) {
			t.Errorf("%s: %v: %s", name, err, text)
		}
	}
}
