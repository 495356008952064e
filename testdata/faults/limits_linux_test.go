package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Memory and CPU are limited by cgroups.
func TestLimits(t *testing.T) { limitFaults.test(t) }

// limited are hooks in a cgroup. Cold, the binary is a copy that is in no cache, so that its pages
// count; warm, they are another's.
func limited(name, does string, memory int, cold bool) fault {
	bytes := fmt.Sprint(memory << 20)
	l := limit{
		controller: "memory", v1: map[string]string{"memory.limit_in_bytes": bytes}, v2: map[string]string{"memory.max": bytes},
		used: regexp.MustCompile(`^[1-9]`), v1Used: "memory.max_usage_in_bytes", v2Used: "memory.peak",
	}
	f := harmless(name, does, nil)
	return l.on(f, cold)
}

// slow are hooks that have a hundredth of a CPU.
func slow(f fault) fault {
	l := limit{
		controller: "cpu", v1: map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "1000"}, v2: map[string]string{"cpu.max": "1000 100000"},
		used: regexp.MustCompile(`nr_throttled [1-9]`), v1Used: "cpu.stat", v2Used: "cpu.stat",
	}
	return l.on(f, false)
}

var limitFaults = group{"limits", []fault{
	limited("32 MiB of memory, binary cold", "no difference", 32, true),
	limited("24 MiB of memory, binary cold", "no difference", 24, true),
	limited("32 MiB of memory, binary warm", "no difference", 32, false),
	limited("24 MiB of memory, binary warm", "no difference", 24, false),
	limited("16 MiB of memory, binary warm", "no difference", 16, false),
	limited("12 MiB of memory, binary warm", "no difference", 12, false),
	slow(fault{
		name: "1% of a CPU", does: "everything takes longer; never later than the budget", why: "quiet", calls: calls, stays: heard, least: heard + quiet,
	}),
	slow(fault{
		name: "1% of a CPU, and clients that never stop", does: "ends with its budget", code: 3, why: "budget", calls: 2 * budget, stays: heard, least: 10 * time.Second,
	}),
}}

// limit is a setting of a controller, by version 1 of cgroups and by version 2, and the file that
// tells by an expression that the limited process is in the cgroup.
type limit struct {
	controller     string
	v1, v2         map[string]string
	used           *regexp.Regexp
	v1Used, v2Used string
}

// on is a fault whose hook has the limit.
func (l limit) on(f fault, cold bool) fault {
	var dir string
	f.before = func(t *testing.T, w *world) {
		dir = l.cgroup(t)
		path := `"$0"`
		if cold {
			path = coldCopy(t)
		}
		w.hook.wrap = "echo $$ >" + dir + "/cgroup.procs && exec " + path + ` "$@"`
	}
	f.after = func(t *testing.T, _ *world) {
		file := l.v1Used
		if unified() {
			file = l.v2Used
		}
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !l.used.Match(text) {
			t.Errorf("the hook was not limited: %v: %s", err, text)
		}
	}
	return f
}

// unified reports whether cgroups are those of version 2.
func unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// cgroup makes a cgroup until the test ends, and returns its directory.
func (l limit) cgroup(t *testing.T) string {
	t.Helper()
	parent, settings := filepath.Join("/sys/fs/cgroup", l.controller), l.v1
	if unified() {
		parent, settings = "/sys/fs/cgroup", l.v2
		// An error shows when the settings are written.
		_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+l.controller), 0o600)
	}
	dir, err := os.MkdirTemp(parent, "lull-faults-")
	if err != nil {
		t.Skip("needs cgroups that it may change: ", err)
	}
	t.Cleanup(func() {
		for range 50 { // until the last process is gone
			if err = os.Remove(dir); err == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Error(err)
	})
	for name, value := range settings {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Skip("needs cgroups that it may change: ", err)
		}
	}
	return dir
}

// coldCopy copies the binary to where no cache has it.
func coldCopy(t *testing.T) string {
	t.Helper()
	path, err := lull()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "lull"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return f.Name()
}
