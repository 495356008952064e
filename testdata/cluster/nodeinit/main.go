// Command nodeinit is process 1 of the node: it makes the node's mounts, reaps orphans, and lives
// as long as its standard input is open.
//
// The harness holds the other end of that pipe. Whatever ends the harness, SIGKILL too, closes it;
// nodeinit then exits, and with process 1 of a PID namespace the kernel ends everything in it.
//
//	nodeinit STATE HOSTNAME
//
// It prints "ready" once the mounts stand.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// overlaid are the directories that daemons write to by habit; in the node they are directories of
// the state.
var overlaid = map[string]string{"/run": "run", "/var/lib": "var-lib", "/var/log": "var-log"}

// sysctls are what the kubelet wants and would set for the whole machine
// (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables; k8s.io/component-helpers,
// node/util/sysctl). It is shown files that hold what it wants.
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

func main() {
	if len(os.Args) != 3 {
		fatal(fmt.Errorf("usage: nodeinit STATE HOSTNAME"))
	}
	if os.Getpid() != 1 {
		fatal(fmt.Errorf("process %d, not 1: this must run in a PID namespace of its own", os.Getpid()))
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD)
	if err := settle(os.Args[1], os.Args[2]); err != nil {
		fatal(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("ready")
	for range signals {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

// settle makes the mount namespace private and puts the node's own directories, /proc and host name
// in place.
func settle(state, name string) error {
	if err := mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC); err != nil {
		return err
	}
	masks := filepath.Join(state, "sysctl")
	if err := os.MkdirAll(masks, 0o755); err != nil {
		return err
	}
	for key, value := range sysctls {
		file := filepath.Join(masks, strings.ReplaceAll(key, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(file, "/proc/sys/"+key, "", syscall.MS_BIND); err != nil {
			return err
		}
	}
	for at, from := range overlaid {
		if err := mount(filepath.Join(state, "fs", from), at, "", syscall.MS_BIND); err != nil {
			return err
		}
	}
	return syscall.Sethostname([]byte(name))
}

func mount(source, target, fstype string, flags uintptr) error {
	if err := syscall.Mount(source, target, fstype, flags, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "nodeinit:", err)
	os.Exit(1)
}
