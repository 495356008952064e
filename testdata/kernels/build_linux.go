package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build makes the programs for an architecture: lull as it is shipped, the test programs, and this.
func build(dir, arch string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "lull"), "."},
		{"build", "-ldflags=-s -w", "-o", filepath.Join(dir, "kernels"), "./testdata/kernels"},
		{"test", "-c", "-ldflags=-s -w", "-o", filepath.Join(dir, "procnet.test"), "./procnet"},
		{"test", "-c", "-ldflags=-s -w", "-o", filepath.Join(dir, "lull.test"), "."},
	} {
		c := exec.Command("go", args...)
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
		if err := quietly(c); err != nil {
			return err
		}
	}
	return nil
}

// quietly runs a command and shows what it printed only if it fails.
func quietly(c *exec.Cmd) error {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, out.Bytes())
	}
	return nil
}

// need installs Debian's packages if a command of theirs is missing.
func need(command string, packages ...string) error {
	if _, err := exec.LookPath(command); err == nil {
		return nil
	}
	if err := quietly(exec.Command("apt-get", "update", "-q")); err != nil {
		return err
	}
	return quietly(exec.Command("apt-get", append([]string{"install", "-qy", "--no-install-recommends"}, packages...)...))
}
