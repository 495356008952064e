package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// gvisor is the version of runsc: a commit of gVisor's branch "go", which is the one that Go can build.
const gvisor = "v0.0.0-20260905035102-160fafc42237"

// These tell the program which network its sandbox has, and where procnet's testdata is.
const (
	sandboxEnv = "LULL_KERNELS_SANDBOX"
	procnetEnv = "LULL_KERNELS_PROCNET"
)

// sandbox runs everything in gVisor.
func (m machine) sandbox(dir, bin string, limit time.Duration) error {
	runsc := filepath.Join(dir, "runsc-"+gvisor)
	if _, err := os.Stat(runsc); err != nil {
		c := exec.Command("go", "install", "-ldflags=-s -w", "gvisor.dev/gvisor/runsc@"+gvisor)
		c.Dir = dir
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+dir)
		if err := quietly(c); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, "runsc"), runsc); err != nil {
			return err
		}
	}
	procnet, err := filepath.Abs("procnet")
	if err != nil {
		return err
	}
	// A network namespace of its own, as with the host's network its traffic is this machine's.
	// As --rootless, runsc does not put it into one more.
	argv := []string{
		"unshare", "--net", "--", "sh", "-c", `ip link set lo up && exec "$@"`, "sh",
		runsc, "--network=" + m.network, "--rootless=" + strconv.FormatBool(m.network == "host"), "do", "--force-overlay=true",
		filepath.Join(bin, "kernels"),
	}
	return m.run(dir, limit, argv, sandboxEnv+"="+m.network, procnetEnv+"="+procnet)
}
