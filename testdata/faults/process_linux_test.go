package faults

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
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
	{
		name: "stopped for 5 s while a replacement is awaited", does: "waits for it, and then for the window", why: "quiet", args: []string{"--handover=always"}, stays: -1,
		least: 5 * time.Second, most: 14 * time.Second, before: func(_ *testing.T, w *world) { w.control.alone = true; w.control.list(true) },
		during: func(_ *testing.T, w *world) {
			w.middle()
			w.out()
			w.stop(5 * time.Second)
			w.within(2 * time.Second)
			w.control.alone = false
			w.leave()
		},
	},
	{
		name: "stopped for 5 s while --max-open waits", does: "waits for the connections to end", why: "quiet", outside: true, args: []string{"--max-open=0"},
		least: 5 * time.Second, most: 12 * time.Second, before: func(_ *testing.T, w *world) { w.app.keep() },
		during: func(_ *testing.T, w *world) {
			w.within(quiet + 700*time.Millisecond)
			w.stop(5 * time.Second)
			w.within(1500 * time.Millisecond)
			w.held = time.Now()
			w.app.kept[0].Close()
		},
	},
	stoppedInDrain(),
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

func (w *world) stop(d time.Duration) {
	_ = w.hook.Process.Signal(syscall.SIGSTOP)
	time.Sleep(d)
	_ = w.hook.Process.Signal(syscall.SIGCONT)
}

// stopped is a hook that is stopped once it is somewhere. The app answers all the while. The pod is
// out of rotation a while after the hook goes on, where it was in rotation before: lull must not take
// its own silence for the control plane's. Where it was out, a client has called just before.
func stopped(name string, d time.Duration, in bool, where func(*world)) fault {
	f := fault{
		name: name, does: "gives the control plane 3 s to be heard, and looks at what has arrived meanwhile", why: "quiet", stays: -1,
		least: d, most: min(d+8*time.Second, budget),
	}
	f.during = func(_ *testing.T, w *world) {
		where(w)
		var all sync.WaitGroup
		all.Go(func() {
			for from := time.Now(); time.Since(from) < d-200*time.Millisecond; time.Sleep(100 * time.Millisecond) {
				w.app.call()
			}
		})
		w.stop(d)
		all.Wait()
		if in && w.within(1200*time.Millisecond) {
			w.leave()
		}
	}
	return f
}

// atStart is a hook that is stopped before it has run at all.
func atStart(name string, f fault) fault {
	f.name, f.stays = name, max(f.stays, leaves)
	f.before = by(`kill -STOP $$; exec "$0" "$@"`)
	f.during = func(_ *testing.T, w *world) {
		time.Sleep(5 * time.Second)
		_ = w.hook.Process.Signal(syscall.SIGCONT)
	}
	return f
}

// stoppedInDrain is a hook that is stopped while the app is asked to let its clients go.
func stoppedInDrain() fault {
	const d = 5 * time.Second
	var asked, goesOn chan struct{}
	f := fault{
		name: "stopped for 5 s while --drain is answered", does: "looks at what has arrived meanwhile", why: "quiet", calls: calls, stays: leaves,
		least: leaves + d + quiet, most: leaves + d + quiet + graceful,
	}
	f.before = func(t *testing.T, w *world) {
		asked, goesOn = make(chan struct{}, 1), make(chan struct{})
		app := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			asked <- struct{}{}
			<-goesOn
		})}
		l := w.listen(t, "127.0.0.1:0")
		go func() { _ = app.Serve(l) }()
		t.Cleanup(func() { app.Close() })
		w.hook.args = append(w.hook.args, "--drain", "http://"+l.Addr().String()+"/drain")
	}
	f.during = func(_ *testing.T, w *world) {
		defer close(goesOn)
		select {
		case <-asked:
			w.stop(d)
		case <-w.hook.ended:
		}
	}
	return f
}

func twin(t *testing.T, w *world) {
	w.twin = &hook{args: w.hook.args, env: w.control.environment()}
	w.twin.start(t, w.place)
}

func TestProcess(t *testing.T) { processFaults.test(t) }
