package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// emulators are QEMU for each architecture, without what is the same for all.
var emulators = map[string]struct {
	packages []string
	argv     []string
	console  string
}{
	"amd64": {
		[]string{"qemu-system-x86"},
		[]string{"qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max"},
		"ttyS0",
	},
	"arm64": {
		[]string{"qemu-system-arm"},
		[]string{"qemu-system-aarch64", "-machine", "virt,accel=tcg", "-cpu", "cortex-a72"},
		"ttyAMA0",
	},
}

// boot runs the kernel with an initramfs that holds the programs, and collects its reports.
func (m machine) boot(dir, bin string, limit time.Duration) error {
	q := emulators[m.arch]
	if err := need(q.argv[0], q.packages...); err != nil {
		return err
	}
	kernel, err := m.unpacked(dir)
	if err != nil {
		return err
	}
	image, err := filepath.Glob(filepath.Join(kernel, "boot", "vmlinuz-*"))
	if err != nil || len(image) != 1 {
		return errors.Join(errors.New("not one kernel in "+kernel), err)
	}
	initramfs := filepath.Join(dir, m.name+".cpio")
	if err := writeInitramfs(initramfs, bin, kernel); err != nil {
		return err
	}
	return m.run(dir, limit, slices.Concat(q.argv, []string{
		"-m", "1024", "-smp", "1", "-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none", "-no-reboot",
		"-kernel", image[0], "-initrd", initramfs, "-append", "console=" + q.console + " quiet loglevel=3 panic=-1",
	}))
}

// run runs a command with a low priority and collects the reports that it prints.
func (m machine) run(dir string, limit time.Duration, argv []string, env ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, "nice", append([]string{"-n", "10"}, argv...)...)
	c.Env = append(os.Environ(), env...)
	c.WaitDelay = 5 * time.Second
	out, in := io.Pipe()
	c.Stdout, c.Stderr = in, in
	ended := make(chan error, 1)
	go func() {
		err := c.Run()
		in.Close()
		ended <- err
	}()
	done, err := collect(dir, m.name, out)
	out.Close()
	if done {
		return err
	}
	return errors.Join(err, errors.New("it ended, or was ended, before its last report: see "+filepath.Join(dir, m.name+".log")), <-ended)
}
