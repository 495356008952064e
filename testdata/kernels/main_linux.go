// Command kernels runs lull and procnet's tests on kernels that this machine does not have, and
// keeps the table of what they show. As root on Debian with Go:
//
//	go run ./testdata/kernels                     # all of them, one after another: an hour or two
//	go run ./testdata/kernels -only 6.1-amd64     # one of them
//	go run ./testdata/kernels -only none          # the table alone, of what was measured before
//
// It installs QEMU and downloads Debian's cloud kernels, by way of apt. A kernel boots under
// emulation from an initramfs with lull, the test programs, and this program as its init. gVisor's
// runsc comes from the Go module proxy. What was measured is kept in the user's cache directory,
// until it is measured anew.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lull/testdata/markdown"
)

func main() {
	log.SetFlags(log.Ltime)
	switch {
	case os.Getpid() == 1 && os.Getenv(sandboxEnv) == "":
		initMain()
	case filepath.Base(os.Args[0]) == "modprobe":
		os.Exit(modprobe(os.Args[1:]))
	case os.Getenv(sandboxEnv) != "":
		sandboxMain(os.Getenv(sandboxEnv))
	default:
		if err := driver(); err != nil {
			log.Fatal(err)
		}
	}
}

// driver measures on each machine that was asked for, and makes the table of all.
func driver() error {
	only := flag.String("only", "", "names of `machines`, separated by commas; \"none\" measures nothing. They are "+strings.Join(machineNames(), ", "))
	readme := flag.String("readme", "", "put the table into this `file`")
	limit := flag.Duration("limit", 40*time.Minute, "how long one machine may take")
	flag.Parse()
	dir, err := cacheDir()
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range machines {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), m.name) {
			continue
		}
		log.Printf("%s: begins", m.name)
		if err := m.measure(dir, *limit); err != nil {
			log.Printf("%s: %v", m.name, err)
			failed = append(failed, fmt.Errorf("%s: %w", m.name, err))
		}
	}
	text, err := table(dir)
	if err != nil {
		return err
	}
	fmt.Print(text)
	if *readme != "" {
		if _, err := markdown.Section(*readme, "kernels", text, true); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// cacheDir is where everything is kept.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "lull-kernels")
	return dir, os.MkdirAll(dir, 0o755)
}

// machine is a kernel, or a sandbox, on which lull is run.
type machine struct {
	name string
	arch string
	// A kernel: the newest of Debian's packages whose name begins with this.
	kernel string
	// A sandbox: runsc's --network.
	network string
}

var machines = []machine{
	{name: "5.10-amd64", arch: "amd64", kernel: "linux-image-5.10."},
	{name: "6.1-amd64", arch: "amd64", kernel: "linux-image-6.1."},
	{name: "6.12-amd64", arch: "amd64", kernel: "linux-image-6.12."},
	{name: "6.1-arm64", arch: "arm64", kernel: "linux-image-6.1."},
	{name: "gvisor-own", arch: "amd64", network: "none"},
	{name: "gvisor-host", arch: "amd64", network: "host"},
}

func machineNames() (names []string) {
	for _, m := range machines {
		names = append(names, m.name)
	}
	return names
}

// measure runs everything on the machine and keeps what it reported, also if that is not all.
func (m machine) measure(dir string, limit time.Duration) error {
	bin := filepath.Join(dir, "bin-"+m.arch)
	if err := build(bin, m.arch); err != nil {
		return err
	}
	run := m.boot
	if m.kernel == "" {
		run = m.sandbox
	}
	return run(dir, bin, limit)
}
