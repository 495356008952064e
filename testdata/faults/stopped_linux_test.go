package faults

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

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

// byProcToo is a hook that watches through /proc.
func byProcToo(f fault) fault {
	f.args = append(f.args, "--source=proc")
	return f
}

// stoppedInHandover is a hook that is stopped while it awaits a replacement.
func stoppedInHandover(d time.Duration) fault {
	return fault{
		name: fmt.Sprintf("stopped for %.0f s while a replacement is awaited", d.Seconds()), does: "waits for it, and then for the window", why: "quiet",
		args: []string{"--handover=always", "--timeout=40s"}, stays: -1, least: d, most: d + 9*time.Second,
		before: func(_ *testing.T, w *world) { w.control.alone = true; w.control.list(true) },
		during: func(_ *testing.T, w *world) {
			w.middle()
			w.out()
			w.stop(d)
			w.within(2 * time.Second)
			w.control.alone = false
			w.leave()
		},
	}
}

// stoppedBeforeClosed is a hook that is stopped while it waits for connections to end.
func stoppedBeforeClosed(d time.Duration) fault {
	return fault{
		name: fmt.Sprintf("stopped for %.0f s while --max-open waits", d.Seconds()), does: "waits for the connections to end", why: "quiet", outside: true,
		args: []string{"--max-open=0", "--timeout=40s"}, least: d, most: d + 7*time.Second, before: func(_ *testing.T, w *world) { w.app.keep() },
		during: func(_ *testing.T, w *world) {
			w.within(quiet + 700*time.Millisecond)
			w.stop(d)
			w.within(1500 * time.Millisecond)
			w.held = time.Now()
			w.app.kept[0].Close()
		},
	}
}

// stoppedInDrain is a hook that is stopped while the app is asked to let its clients go.
func stoppedInDrain(d time.Duration) fault {
	var asked, goesOn chan struct{}
	f := fault{
		name: fmt.Sprintf("stopped for %.0f s while --drain is answered", d.Seconds()), args: []string{"--timeout=40s"}, does: "looks at what has arrived meanwhile", why: "quiet", calls: calls, stays: leaves,
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
