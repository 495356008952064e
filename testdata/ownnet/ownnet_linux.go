// Package ownnet gives tests a network namespace of their own, so that nobody
// else's traffic moves its counters.
package ownnet

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// variable is set in the environment of a process that runs in such a namespace.
const variable = "OWNNET"

// Own reports whether there is no traffic but this program's own.
var Own = os.Getenv(variable) != ""

// The first thread stays with TestMain: Pdeathsig is about the thread that starts
// a process, and /proc/net is the namespace of the first thread, which no test
// may get hold of and leave.
func init() { runtime.LockOSThread() }

// Run starts this program again in a namespace of its own, and there calls run;
// it returns the exit code. Where there can't be a namespace, run stays in this
// one and Own is false.
func Run(run func() int) int {
	if Own {
		if err := LoopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "loopback:", err)
			return 1
		}
		return run()
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	defer Enter(c)()
	if err := c.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "no network namespace, staying in this one:", err)
		return run()
	}
	_ = c.Wait() // the exit code tells
	return c.ProcessState.ExitCode()
}

// Enter makes a command start in a new namespace, where its Run calls run. It
// ends with the thread that starts it, so the caller stays on its thread until
// it calls leave, once the command has ended: other tests end theirs.
func Enter(c *exec.Cmd) (leave func()) {
	runtime.LockOSThread()
	c.Env = append(c.Environ(), variable+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return runtime.UnlockOSThread
}

// LoopbackUp brings up the loopback device of the namespace that the thread is in.
func LoopbackUp() error {
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
