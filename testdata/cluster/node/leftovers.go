package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func sortedNames(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// sweep removes what a node leaves behind once its processes are dead: its cgroups and its state.
// Its mounts and networks went with the namespaces. It refuses to touch the state while anything of
// the machine is still mounted from it.
func sweep(p paths) error {
	if err := sweepCgroups(); err != nil {
		return err
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], p.run()) {
			return fmt.Errorf("%s is still mounted on %s", f[0], f[1])
		}
	}
	return os.RemoveAll(p.run())
}

// kubepods are the kubelet's cgroups: one for each controller with cgroup v1, one in all with v2.
func kubepods() []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/kubepods")
	v2, _ := filepath.Glob("/sys/fs/cgroup/kubepods")
	return append(v1, v2...)
}

// sweepCgroups removes the kubelet's cgroups, children first. The kernel lets go of a cgroup only
// when its last process is reaped, so it is tried for a while.
func sweepCgroups() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		var last error
		for _, top := range kubepods() {
			var dirs []string
			_ = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
				if err == nil && e.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, dir := range slices.Backward(dirs) {
				if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
					last = fmt.Errorf("remove cgroup %s: %w", dir, err)
				}
			}
		}
		if last == nil || time.Now().After(deadline) {
			return last
		}
		time.Sleep(50 * time.Millisecond)
	}
}
