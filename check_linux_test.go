package main

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lull/testdata/seccomp"
)

// The hook takes the other source where the one that is named cannot be had, and so does lull
// check: it does not tell of a sleep.
func TestCheckSourceRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, source := range []string{"netlink", "auto"} {
		stdout, code := withoutNetlink(t, "check", "--source", source, "--port", fmt.Sprint(port))
		for _, want := range []string{
			"\nsockets    proc\n",
			fmt.Sprintf("\nlistening  :%d, ", port),
			"\nlacks      netlink: socket: operation not permitted; /proc takes",
		} {
			if code != 1 || !strings.Contains(stdout, want) || strings.Contains(stdout, "sleep") {
				t.Errorf("--source=%s: exit code %d, no %q in\n%s", source, code, want, stdout)
			}
		}
		told := "\nsockets    warning: --source=netlink is not available here, taking the other one: "
		if named := source == "netlink"; strings.Contains(stdout, told) != named {
			t.Errorf("--source=%s: %q in\n%s", source, told, stdout)
		}
	}
}

// withoutNetlink runs lull where seccomp refuses netlink.
func withoutNetlink(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	var refused error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and the filter with it
		if refused = seccomp.Refuse(unix.SYS_SOCKET, 0, unix.AF_NETLINK, unix.EPERM); refused == nil {
			stdout, _, code = lull(t, nil, args...)
		}
	}()
	<-done
	if refused != nil {
		t.Skipf("the kernel takes no filter: %v", refused)
	}
	return stdout, code
}
