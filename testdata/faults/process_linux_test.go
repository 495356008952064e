package faults

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asUsual is a hook that a fault makes no difference to.
func asUsual(name string, before func(*testing.T, *world)) fault {
	return fault{
		name: name, does: "no difference", why: "quiet", calls: calls, stays: heard,
		least: heard + quiet, most: heard + quiet + graceful, before: before,
	}
}

// toFile has the story in a file, for a hook that is started by these shell commands.
func toFile(commands string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.hook.wrap = commands
		w.hook.log = filepath.Join(t.TempDir(), "story")
		w.hook.args = append(w.hook.args, "--log", w.hook.log)
	}
}

// toPipe has the story in a file, for a hook whose stdout and stderr are a pipe.
func toPipe(prepare func(t *testing.T, read, write *os.File)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		toFile("")(t, w)
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil { // os.Pipe's would not block
			t.Fatal(err)
		}
		read, write := os.NewFile(uintptr(ends[0]), "read"), os.NewFile(uintptr(ends[1]), "write")
		t.Cleanup(func() { read.Close(); write.Close() })
		prepare(t, read, write)
		w.hook.said = write
	}
}

// fill fills a pipe to its last byte.
func fill(t *testing.T, _, write *os.File) {
	size, err := unix.FcntlInt(write.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := write.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
}

// by starts the hook by these shell commands.
func by(commands string) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) { w.hook.wrap = commands }
}

// signalled sends a signal in the middle.
func signalled(s syscall.Signal) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		if w.middle() {
			_ = w.hook.Process.Signal(s)
		}
	}
}

// ends is a hook that a signal ends.
func ends(s syscall.Signal) fault {
	return fault{
		name: unix.SignalName(s), does: "ends at once, with 128 and the signal's number", code: 128 + int(s), why: "interrupted",
		stays: -1, most: 3 * time.Second, during: signalled(s),
	}
}

// killed is the exit code that os/exec gives for what a signal ended; the kubelet sees 137.
const killed = -1

var processFaults = group{"process", []fault{
	ends(syscall.SIGTERM),
	ends(syscall.SIGINT),
	{
		name: "SIGHUP, SIGPIPE", does: "no difference: nobody may end a hook by that (at a terminal SIGHUP ends it)", why: "quiet", calls: calls, stays: -1,
		least: 2 * leaves, most: 5 * time.Second, during: func(t *testing.T, w *world) {
			for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE} {
				signalled(s)(t, w)
			}
			w.leave()
		},
	},
	asUsual("stdin, stdout and stderr closed", toFile(`exec "$0" "$@" <&- >&- 2>&-`)),
	asUsual("stdout and stderr are full", toFile(`exec "$0" "$@" >/dev/full 2>&1`)),
	asUsual("nobody reads stdout and stderr any more", toPipe(func(_ *testing.T, read, _ *os.File) { read.Close() })),
	asUsual("stdout and stderr are a pipe that is full", toPipe(fill)),
	asUsual("the root is read-only, and so is /tmp", func(t *testing.T, w *world) {
		w.must(t, func() error {
			return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		})
	}),
	{
		name: "the environment is empty: no HOME, no PATH, no Kubernetes", does: "goes by the sockets", why: "quiet", outside: true, calls: calls,
		least: quiet, most: calls + 2*quiet, before: by(`exec env -i "$0" "$@"`), says: []string{"not in Kubernetes"},
	},
	asUsual("RLIMIT_NOFILE is 16", by(`ulimit -n 16; exec "$0" "$@"`)),
	asUsual("GOMAXPROCS=1 GOGC=10 GOMEMLIMIT=4MiB of the app", by(`GOMAXPROCS=1 GOGC=10 GOMEMLIMIT=4MiB exec "$0" "$@"`)),
	{
		name: "the hook runs twice at once", does: "no difference, for either", why: "quiet", calls: calls, stays: heard,
		least: heard + quiet, most: heard + quiet + graceful, before: twin, after: func(_ *testing.T, w *world) { <-w.twin.ended },
	},
	stopped("stopped for 5 s in rotation", 5*time.Second, true, func(w *world) { w.middle() }),
	stopped("stopped for 15 s in rotation", 15*time.Second, true, func(w *world) { w.middle() }),
	stopped("stopped for 5 s in the window", 5*time.Second, false, func(w *world) { w.middle(); w.out() }),
	stopped("stopped for 15 s in the window", 15*time.Second, false, func(w *world) { w.middle(); w.out() }),
	stopped("stopped for 5 s before it has heard of the control plane", 5*time.Second, true, func(*world) {}),
	stopped("stopped for 15 s before it has heard of the control plane", 15*time.Second, true, func(*world) {}),
	atStart("stopped for 5 s right after it was started, and clients that never stop", fault{
		does: "the budget counts from the start of the process, as the kubelet's does", code: 3, why: "budget", calls: 2 * budget, least: 10 * time.Second,
	}),
	atStart("stopped for 5 s right after it was started", fault{
		does: "looks from then on, for a whole window", why: "quiet", stays: 5*time.Second + heard,
		least: 5*time.Second + heard + quiet, most: 5*time.Second + heard + quiet + graceful,
	}),
	atStart("stopped for 5 s right after it was started, without the control plane", fault{
		does: "looks from then on, for twice the window", why: "quiet", args: []string{"--endpoints=skip"}, least: 5*time.Second + alone, most: 5*time.Second + alone + quiet,
	}),
	byProcToo(stopped("stopped for 5 s in rotation, with --source=proc", 5*time.Second, true, func(w *world) { w.middle() })),
	byProcToo(stopped("stopped for 15 s in the window, with --source=proc", 15*time.Second, false, func(w *world) { w.middle(); w.out() })),
	stoppedInHandover(5 * time.Second), stoppedInHandover(15 * time.Second),
	stoppedBeforeClosed(5 * time.Second), stoppedBeforeClosed(15 * time.Second),
	stoppedInDrain(5 * time.Second), stoppedInDrain(15 * time.Second),
	{
		name: "stopped beyond the end of the budget", does: "the kernel kills it 1 s after the budget's end", code: killed, args: []string{"--timeout", "4s"}, stays: -1,
		least: 4 * time.Second, most: 5 * time.Second, during: func(_ *testing.T, w *world) {
			w.middle()
			w.stop(6 * time.Second)
		},
	},
}}

// out has the pod out of rotation, and waits until the hook must have heard of it.
func (w *world) out() {
	w.leave()
	w.within(leaves)
}

func twin(t *testing.T, w *world) {
	w.twin = &hook{args: w.hook.args, env: w.control.environment()}
	w.twin.start(t, w.place)
}

func TestProcess(t *testing.T) { processFaults.test(t) }
