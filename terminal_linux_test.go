package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestColours runs lull check on a terminal.
func TestColours(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env  string
		want bool
	}{{"TERM=xterm", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		t.Run(tt.env, func(t *testing.T) {
			t.Parallel()
			screen := onTerminal(t, []string{tt.env}, "check", "--kubeconfig", newTestCluster().serve(t), "pod/web-0")
			if !strings.Contains(screen, "nothing") || strings.Contains(screen, green) != tt.want {
				t.Errorf("%q", screen)
			}
		})
	}
}

// onTerminal runs lull with a terminal for its output (pty(7)), and returns what that shows.
func onTerminal(t *testing.T, env []string, args ...string) string {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer screen.Close()
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Args, c.Env = append([]string{"lull"}, args...), env
	c.Stdout, c.Stderr = tty, tty
	err = c.Start()
	tty.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(screen) // ends with EIO when nobody has the terminal open any more
	_ = c.Wait()
	return string(text)
}
