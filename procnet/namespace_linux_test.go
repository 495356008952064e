package procnet

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests run in a network namespace of their own, so that nobody else's
// traffic moves its counters: TestMain starts itself again in one. Without the
// right to do so they stay where they are, and what needs quiet is skipped. Who
// has made a namespace for them sets the variable.

const namespaceEnv = "PROCNET_TEST_NAMESPACE"

// isolated tells that there is no traffic but the tests' own.
var isolated = os.Getenv(namespaceEnv) != ""

// The first thread stays with TestMain: Pdeathsig is about the thread that starts
// a process, and /proc/net is the namespace of the first thread, which no test
// may get hold of and leave.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if isolated {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "loopback:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := inNamespace()
	if err == nil {
		os.Exit(code)
	}
	fmt.Fprintln(os.Stderr, "no network namespace, staying in this one:", err)
	os.Exit(m.Run())
}

// inNamespace runs the tests in a new network namespace. The error says that
// there can't be any.
func inNamespace() (code int, err error) {
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), namespaceEnv+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	_ = c.Wait() // the exit code tells
	return c.ProcessState.ExitCode(), nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err == nil && lo.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// needQuiet skips a test that other people's traffic would upset.
func needQuiet(t testing.TB) {
	t.Helper()
	if !isolated {
		t.Skip("needs a network namespace of its own: the counters here move by themselves")
	}
}
