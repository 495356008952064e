package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// archive is where Debian's kernels are. Releases that are no longer supported move away, and then
// a kernel cannot be had.
var archive = []string{
	"http://deb.debian.org/debian bookworm",
	"http://deb.debian.org/debian-security bookworm-security",
	"http://deb.debian.org/debian bookworm-backports",
	"http://deb.debian.org/debian bullseye",
	"http://deb.debian.org/debian-security bullseye-security",
}

// apt is an apt of its own for another architecture and other releases, which leaves that of this
// machine alone.
type apt struct {
	dir, arch string
}

func newApt(dir, arch string) (apt, error) {
	a := apt{filepath.Join(dir, "apt-"+arch), arch}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, sub), 0o755); err != nil {
			return a, err
		}
	}
	var sources strings.Builder
	for _, s := range archive {
		fmt.Fprintf(&sources, "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s main\n", s)
	}
	for name, text := range map[string]string{"sources.list": sources.String(), "status": ""} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return a, err
		}
	}
	return a, quietly(a.command("apt-get", "update", "-q"))
}

func (a apt) command(name string, args ...string) *exec.Cmd {
	options := []string{
		"-o", "Dir::State=" + filepath.Join(a.dir, "state"), "-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"), "-o", "Dir::Etc::sourcelist=" + filepath.Join(a.dir, "sources.list"),
		"-o", "Dir::Etc::sourceparts=/dev/null", "-o", "APT::Architecture=" + a.arch, "-o", "APT::Architectures::=" + a.arch,
		"-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root",
	}
	c := exec.Command(name, append(options, args...)...)
	c.Dir = a.dir
	return c
}

// kernels returns the packages whose name begins with prefix, newest first.
func (a apt) kernels(prefix string) ([]string, error) {
	out, err := a.command("apt-cache", "pkgnames", prefix).Output()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, name := range strings.Fields(string(out)) {
		if strings.HasSuffix(name, "-cloud-"+a.arch) && strings.ContainsAny(strings.TrimPrefix(name, prefix), "0123456789") {
			list = append(list, name)
		}
	}
	c := exec.Command("sort", "-rV")
	c.Stdin = strings.NewReader(strings.Join(list, "\n"))
	out, err = c.Output()
	return strings.Fields(string(out)), err
}

// unpacked returns the directory of a kernel's unpacked package. An index may name a package that
// is gone, so the older ones are tried, too.
func (m machine) unpacked(dir string) (string, error) {
	to := filepath.Join(dir, m.name)
	if found, _ := filepath.Glob(filepath.Join(to, "boot", "vmlinuz-*")); len(found) == 1 {
		return to, nil
	}
	a, err := newApt(dir, m.arch)
	if err != nil {
		return "", err
	}
	names, err := a.kernels(m.kernel)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no package %s*-cloud-%s", m.kernel, m.arch)
	}
	if err != nil {
		return "", err
	}
	for _, name := range names[:min(len(names), 4)] {
		if err = quietly(a.command("apt-get", "download", "-q", name)); err == nil {
			return to, a.unpack(name, to)
		}
	}
	return "", err
}

// unpack unpacks the package, and the modules in it.
func (a apt) unpack(name, to string) error {
	found, err := filepath.Glob(filepath.Join(a.dir, name+"_*.deb"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("%s was not downloaded: %w", name, err)
	}
	slices.Sort(found)
	if err := quietly(exec.Command("dpkg-deb", "-x", found[len(found)-1], to)); err != nil {
		return err
	}
	packed, err := filepath.Glob(filepath.Join(to, "lib/modules/*/kernel/net/ipv4/*.ko.xz"))
	if err != nil || len(packed) == 0 {
		return err
	}
	return quietly(exec.Command("xz", append([]string{"-d"}, packed...)...))
}
