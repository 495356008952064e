package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inPod reports whether this runs in a pod: the kubelet names the API server to every container that
// it starts (pkg/kubelet/kubelet_pods.go, getServiceEnvVarMap).
func inPod() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

// process is a process of the container's, as /proc shows it.
type process struct {
	pid     int
	name    string // as in /proc/PID/comm
	start   uint64 // in clock ticks since the machine started
	caught  uint64 // signals that it has handlers for, bit n-1 for signal n
	blocked uint64 // signals that its first thread blocks
}

// firstProcess finds the container's own first process. As a rule that is PID 1. With
// shareProcessNamespace PID 1 is the pause process, and with hostPID the node's init: then it is
// the oldest process of lull's container.
func firstProcess(proc string) (process, error) {
	c, err := ownContainer(proc)
	if err != nil {
		return process{}, err
	}
	switch own, err := c.has(proc, "1"); {
	case err != nil:
		// Any other process may be a child of this one.
		return process{}, fmt.Errorf("process 1 cannot be looked at: %w", err)
	case own:
		return readProcess(proc, 1)
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return process{}, err
	}
	var first process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if own, err := c.has(proc, e.Name()); err != nil || !own {
			continue
		}
		p, err := readProcess(proc, pid)
		if err == nil && (first.pid == 0 || p.start < first.start || p.start == first.start && p.pid < first.pid) {
			first = p
		}
	}
	if first.pid == 0 {
		return process{}, errors.New("no other process of this container can be seen")
	}
	return first, nil
}

// container is what tells the processes of a container from others.
type container struct {
	mounts string            // the mount namespace
	groups map[string]string // the control groups: a path in each hierarchy
}

// ownContainer is the one that lull runs in.
func ownContainer(proc string) (c container, err error) {
	if c.mounts, err = os.Readlink(filepath.Join(proc, "self/ns/mnt")); err != nil {
		return c, err
	}
	groups, _ := readSome(filepath.Join(proc, "self/cgroup")) // needed only where mounts do not tell
	c.groups = parseGroups(groups)
	return c, nil
}

// has reports whether a process is of the container: it sees the same mounts. The mounts of another
// user's process may not be looked at, nor those of one that runs a file with capabilities or one
// that it may not read (kernel/ptrace.c, __ptrace_may_access). Its control groups may.
func (c container) has(proc, pid string) (bool, error) {
	mounts, err := os.Readlink(filepath.Join(proc, pid, "ns/mnt"))
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err == nil && mounts == c.mounts, err
	}
	groups, err := readSome(filepath.Join(proc, pid, "cgroup"))
	if err != nil {
		return false, err
	}
	return within(parseGroups(groups), c.groups)
}

// parseGroups takes the path in each hierarchy from /proc/PID/cgroup: "4:memory:/path", "0::/path".
func parseGroups(text []byte) map[string]string {
	groups := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if at := strings.IndexByte(line, '/'); at >= 0 {
			groups[line[:at]] = strings.TrimSuffix(line[at:], "\n")
		}
	}
	return groups
}

// within reports whether one process's control groups are another's, or below these: an init may
// move itself into a group of its own. Groups of another container have other paths, which begin
// with "/.." in a cgroup namespace (man 7 cgroup_namespaces).
func within(groups, others map[string]string) (bool, error) {
	if len(others) == 0 {
		return false, errors.New("no control groups")
	}
	for hierarchy, other := range others {
		path, ok := groups[hierarchy]
		if !ok {
			return false, fmt.Errorf("no control group in %q", hierarchy)
		}
		below, ok := strings.CutPrefix(path, strings.TrimSuffix(other, "/"))
		if !ok || below != "" && below[0] != '/' || strings.HasPrefix(below, "/..") {
			return false, nil
		}
	}
	return true, nil
}

// readProcess reads a process from /proc/PID/stat and status (fs/proc/array.c).
func readProcess(proc string, pid int) (process, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := readSome(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, err
	}
	status, err := readSome(filepath.Join(dir, "status"))
	if err != nil {
		return process{}, err
	}
	p, err := parseProcess(stat, status)
	if err != nil {
		return process{}, fmt.Errorf("%s: %w", dir, err)
	}
	p.pid = pid
	return p, nil
}

// readSome reads a small file. What is beyond 64 KiB is nothing that is looked for.
func readSome(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64<<10))
}

// parseProcess takes from the two files what lull needs to know.
func parseProcess(stat, status []byte) (p process, err error) {
	// The name stands in parentheses and may have any character.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return p, fmt.Errorf("stat: no name in %.60q", stat)
	}
	p.name = string(stat[open+1 : end])
	fields := bytes.Fields(stat[end+1:])
	const startTime = 22 - 3 // the field's number, less those before the rest
	if len(fields) <= startTime {
		return p, fmt.Errorf("stat: no start time in %.60q", stat)
	}
	if p.start, err = strconv.ParseUint(string(fields[startTime]), 10, 64); err != nil {
		return p, fmt.Errorf("stat: start time: %w", err)
	}
	if p.blocked, err = parseSignals(status, "SigBlk:"); err == nil {
		p.caught, err = parseSignals(status, "SigCgt:")
	}
	return p, err
}

// parseSignals takes a set of signals from /proc/PID/status.
func parseSignals(status []byte, name string) (uint64, error) {
	for line := range bytes.Lines(status) {
		if mask, ok := bytes.CutPrefix(line, []byte(name)); ok {
			set, err := strconv.ParseUint(string(bytes.TrimSpace(mask)), 16, 64)
			if err != nil {
				return 0, fmt.Errorf("status: %s %w", name, err)
			}
			return set, nil
		}
	}
	return 0, fmt.Errorf("status: no %s", name)
}

// handles reports whether the process handles the signal, as far as can be told. One that it does
// not handle would end it, or reach nobody.
func (p process) handles(proc string, s unix.Signal) bool {
	return p.catches(s) && (!p.isGo() || p.notifies(proc, s))
}

// catches reports whether the process gets the signal: by a handler, or by reading it from a
// signalfd, for which it blocks it.
//
// What waits for signals in sigtimedwait, as tini does to pass them on, shows neither
// (kernel/signal.c, do_sigtimedwait). But process 1 without any handler is such an init as a rule,
// and no signal that it does not wait for ends it (sig_task_ignored).
func (p process) catches(s unix.Signal) bool {
	if s <= 0 || s > lastSignal {
		return false
	}
	return p.pid == 1 && p.caught == 0 || (p.caught|p.blocked)&bits(s) != 0
}

const lastSignal = 64 // SIGRTMAX

// bits are signals as a set of /proc/PID/status.
func bits(signals ...unix.Signal) (set uint64) {
	for _, s := range signals {
		set |= 1 << (uint(s) - 1)
	}
	return set
}

// isGo reports whether the process has handlers for signals that nothing but Go's runtime has a
// handler for (runtime/sigtab_linux_generic.go). They say nothing about the program.
func (p process) isGo() bool {
	odd := bits(unix.SIGTRAP, unix.SIGSYS, unix.SIGXCPU, unix.SIGPROF, lastSignal)
	return p.caught&odd == odd
}

// notifiesAll reports whether a program in Go called signal.Notify without naming signals: the
// runtime has no handler for these otherwise.
func (p process) notifiesAll() bool {
	return p.caught&bits(unix.SIGTTIN, unix.SIGTTOU) != 0
}

// notifies reports whether a program in Go called signal.Notify for the signal. From the first call
// on, a thread of the runtime's blocks what was not asked for (runtime/signal_unix.go, ensureSigM).
// SIGHUP it never blocks, so that is known only of a program without any call: SIGHUP ends it.
func (p process) notifies(proc string, s unix.Signal) bool {
	if p.notifiesAll() {
		return true
	}
	tasks := filepath.Join(proc, strconv.Itoa(p.pid), "task")
	dir, err := os.Open(tasks)
	if err != nil {
		return false
	}
	defer dir.Close()
	const mostThreads = 10_000 // as in Go itself (runtime/debug, SetMaxThreads)
	threads, _ := dir.Readdirnames(mostThreads)
	return slices.ContainsFunc(threads, func(thread string) bool {
		status, err := readSome(filepath.Join(tasks, thread, "status"))
		if err != nil {
			return false
		}
		// A thread in C may block all signals, but the runtime's never SIGSEGV.
		blocked, err := parseSignals(status, "SigBlk:")
		return err == nil && blocked&bits(lastSignal) != 0 && blocked&bits(unix.SIGSEGV, s) == 0
	})
}

// mayEndBy reports whether the signal may end the process for all that can be told. The runtimes of
// Go, Java and Ruby have a handler for SIGHUP which ends a program that has none of its own.
func (p process) mayEndBy(s unix.Signal) bool {
	return s == unix.SIGHUP && (p.isGo() && !p.notifiesAll() || p.name == "java" || p.name == "ruby")
}

func (p process) String() string { return fmt.Sprintf("process %d (%s)", p.pid, p.name) }
