package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// ErrUnavailable wraps every reason why this machine can't run a node: tests skip on it.
var ErrUnavailable = errors.New("no cluster on this machine")

// needs maps what must be there to the Debian package that brings it.
var needs = map[string]string{
	"containerd":          "containerd",
	"ctr":                 "containerd",
	"buildah":             "buildah",
	"runc":                "runc",
	"/usr/lib/cni/bridge": "containernetworking-plugins",
	"iptables":            "iptables",
	"nft":                 "nftables",
	"ip":                  "iproute2",
	"conntrack":           "conntrack",
	"dbus-daemon":         "dbus-daemon",
	"nsenter":             "util-linux",
}

// Routers are the programs of the slow router scenario, needed by it alone.
var Routers = map[string]string{"nginx": "nginx", "haproxy": "haproxy"}

// Require returns an error wrapping ErrUnavailable where this machine can't run a node, naming what
// is missing. As root on Debian it installs what is missing first.
func Require(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: needs root", ErrUnavailable)
	}
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("%w: needs the go command", ErrUnavailable)
	}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		return fmt.Errorf("%w: needs cgroups: %w", ErrUnavailable, err)
	}
	return Install(ctx, needs)
}

// installing: apt-get refuses to run twice at a time.
var installing sync.Mutex

// Install installs the Debian packages of the programs that are missing. Errors wrap ErrUnavailable.
// Scenarios may call it at the same time.
func Install(ctx context.Context, programs map[string]string) error {
	installing.Lock()
	defer installing.Unlock()
	names, packages := missing(programs)
	if len(names) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%w: needs %s, and there is no apt-get to install it", ErrUnavailable, strings.Join(names, ", "))
	}
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-qy", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		// policy-rc.d is Debian's way to forbid a package to start its daemon; in a container there
		// is nothing to start it anyway.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: apt-get %s: %w: %s", ErrUnavailable, args[0], err, lastLines(string(out), 3))
		}
	}
	if names, _ := missing(programs); len(names) > 0 {
		return fmt.Errorf("%w: %s still missing after apt-get install", ErrUnavailable, strings.Join(names, ", "))
	}
	return nil
}

func missing(programs map[string]string) (names, packages []string) {
	seen := map[string]bool{}
	for name, pkg := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		names = append(names, name)
		if !seen[pkg] {
			seen[pkg] = true
			packages = append(packages, pkg)
		}
	}
	return names, packages
}
