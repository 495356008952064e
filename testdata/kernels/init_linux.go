package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// onRequest is there while modprobe may load the modules.
const onRequest = "/tmp/modprobe-may-load"

// initMain is the first process of an emulated machine. It measures with ever more of the modules,
// and then ends the machine.
func initMain() {
	err := prepare()
	if err == nil {
		err = stages()
	}
	if err != nil {
		fmt.Println("init:", err)
	} else {
		report{Done: true}.send()
	}
	time.Sleep(time.Second) // for the console
	unix.Sync()
	fmt.Println(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	select {}
}

func prepare() error {
	for dir, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/tmp": "tmpfs"} {
		if err := unix.Mount(kind, dir, kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	for name, value := range map[string]string{"PATH": "/sbin", "HOME": "/root", "TMPDIR": "/tmp"} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	// The kernel's limits for a pod are larger than those of a machine of so little memory.
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	return errors.Join(loopbackUp(), unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// stages measures with none of the modules, with inet_diag alone, with both loaded by what lull
// asks for, and then once more with both, where procnet's tests run as well.
func stages() error {
	rig := rig{bin: "/", procnet: "/procnet", own: true}
	have, _ := filepath.Glob("/modules/*.ko")
	if len(have) == len(modules) {
		rig.measure("none", "auto", false)
		if err := load("inet_diag"); err != nil {
			return err
		}
		rig.measure("inet_diag alone", "auto", false)
		if err := os.WriteFile(onRequest, nil, 0o600); err != nil {
			return err
		}
	}
	rig.measure("loaded on request", "auto", false)
	rig.measure("loaded, --source=proc", "proc", true, "-test.timeout=25m")
	return nil
}

// modprobe is what the kernel starts to load a module. It asks for
// net-pf-16-proto-4-type-FAMILY(-PROTOCOL), see net/core/sock_diag.c and net/ipv4/inet_diag.c.
func modprobe(args []string) (exitCode int) {
	if _, err := os.Stat(onRequest); err != nil {
		return 1
	}
	name := args[len(args)-1]
	for _, module := range modules {
		if !strings.HasPrefix(name, "net-pf-16-proto-4-type-") || module == "tcp_diag" && !strings.HasSuffix(name, "-6") {
			continue
		}
		if err := load(module); err != nil {
			return 1
		}
	}
	return 0
}

func load(module string) error {
	f, err := os.Open("/modules/" + module + ".ko")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: %w", module, err)
	}
	return nil
}

// inSandbox are the tests that can run in gVisor: there are no network devices to make, and Go's
// runtime does not get over a thread that has left its namespace.
const inSandbox = "^Test(Proc|Counters|EveryConnection|Queued|Accepted|Waiting|Overflow|HalfOpen|ReusePort|IdleClose|Lone|Families)"

// sandboxMain measures in a sandbox with this network.
func sandboxMain(network string) {
	self, err := os.Executable()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	rig := rig{bin: filepath.Dir(self), procnet: os.Getenv(procnetEnv), few: network == "host"}
	if network == "host" {
		rig.measure("host's network", "auto", false)
	} else {
		rig.measure("own network", "auto", false, "-test.timeout=5m", "-test.run="+inSandbox, "-test.skip=TestOpenRefused")
	}
	report{Done: true}.send()
}

func kernelRelease() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	return string(name.Release[:max(0, slices.Index(name.Release[:], 0))])
}
