package faults

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"lull/testdata/apiserver"
)

// quiet is the window of all hooks here, unless they say otherwise.
const quiet = time.Second

// fault is something that goes wrong, and what lull must make of it.
type fault struct {
	name string // what goes wrong
	does string // what lull does
	code int
	why  string // the reason in the story's last line; empty: there is none

	args, env []string
	flags     bool // args are all there are, rather than those added
	outside   bool // there is no control plane
	port      int  // of the app; 0: any

	calls time.Duration // how long clients call
	stays time.Duration // how long the pod is in rotation
	// When lull may exit at the earliest, apart from the window after the last arrival, and at the
	// latest. The latest is the budget if it is 0, and never counts what the machine stood still.
	least, most time.Duration
	deaf        bool // traffic cannot be seen: least alone counts
	says        []string
	memory      int // MiB that it may take; 0: 32

	before func(*testing.T, *world) // the hook
	during func(*testing.T, *world) // in a goroutine of its own
	after  func(*testing.T, *world)
}

// world is all that there is in a test.
type world struct {
	*place
	app     *app
	control *control // nil outside
	hook    *hook
	twin    *hook
	left    time.Time // when the pod left rotation: the window cannot begin sooner
	held    time.Time // until when something else must hold the hook
}

// middle waits until the hook knows that the pod is in rotation, and reports whether it did.
func (w *world) middle() bool {
	for w.control.Open() == 0 {
		if !w.within(10 * time.Millisecond) {
			return false
		}
	}
	return w.within(leaves)
}

// leave lets the pod leave rotation.
func (w *world) leave() {
	w.left = time.Now()
	w.control.list(false)
}

func (w *world) hooks() []*hook {
	if w.twin != nil {
		return []*hook{w.hook, w.twin}
	}
	return []*hook{w.hook}
}

// counts are the figures that decide.
var counts struct {
	sync.Mutex
	hooks, early, late, again int
}

// try runs a hook against a fault. A late exit alone proves nothing on a machine that others use:
// lateness that is lull's own comes back.
func (f *fault) try(t *testing.T) {
	const tooMany = 3
	for i := 1; ; i++ {
		w, stood, late := f.run(t)
		counts.Lock()
		counts.hooks++
		if late != "" && i < tooMany {
			counts.again++
		} else if late != "" {
			counts.late++
		}
		counts.Unlock()
		switch {
		case late == "":
			if testing.Verbose() {
				t.Logf("exit code %d, %d MiB, after %s (the machine stood still for %s): %s", w.hook.ProcessState.ExitCode(), w.hook.memory,
					w.hook.exited.Sub(w.hook.started).Round(time.Millisecond), stood.Round(time.Millisecond), w.hook.end().Msg)
			}
			return
		case i == tooMany:
			t.Errorf("late %d times: %s\n%s", i, late, w.hook.output)
			return
		}
		t.Logf("again, since late: %s", late)
	}
}

// run runs the hook once, and tells for how long the machine stood still meanwhile.
func (f *fault) run(t *testing.T) (w *world, stood time.Duration, late string) {
	t.Helper()
	w = f.world(t)
	if f.before != nil {
		f.before(t, w)
	}
	var machine stalls
	stop := make(chan struct{})
	defer close(stop)
	var all sync.WaitGroup
	w.hook.env = append(w.hook.env, f.environment(w)...)
	go machine.watch(stop)
	w.hook.start(t, w.place)
	for _, h := range w.hooks() {
		all.Go(h.watchMemory)
	}
	all.Go(func() { w.app.callFor(f.calls, w.hook.ended) })
	if w.control != nil && f.stays >= 0 {
		all.Go(func() {
			if w.within(f.stays) {
				w.leave()
			}
		})
	}
	if f.during != nil {
		all.Go(func() { f.during(t, w) })
	}
	longest := max(70*time.Second, f.most+20*time.Second)
	select {
	case <-w.hook.ended:
	case <-time.After(longest):
		_ = w.hook.Process.Kill()
		<-w.hook.ended
		t.Errorf("does not end:\n%s", w.hook.output)
	}
	all.Wait()
	if f.after != nil {
		f.after(t, w)
	}
	stood = machine.sum()
	for _, h := range w.hooks() {
		f.judge(t, w, h)
		if late == "" {
			late = f.late(h, stood)
		}
	}
	return w, stood, late
}

func (f *fault) world(t *testing.T) *world {
	w := &world{place: newPlace(t), hook: &hook{}}
	w.app = newApp(t, w.place, f.port)
	if !f.outside {
		w.control = newControl(t, w.place, w.app.port)
	}
	w.hook.args = f.args
	if !f.flags {
		w.hook.args = append([]string{"--quiet", quiet.String(), "--log", "none", "--format", "json", "--debug"}, f.args...)
	}
	return w
}

func (f *fault) environment(w *world) []string {
	if w.control == nil {
		return f.env
	}
	return append(w.control.environment(), f.env...)
}

// within waits, and reports whether the hook is still running then.
func (w *world) within(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-w.hook.ended:
		return false
	}
}

// judge checks all but lateness.
func (f *fault) judge(t *testing.T, w *world, h *hook) {
	t.Helper()
	complain := func(format string, args ...any) {
		t.Helper()
		t.Errorf(format+"\n%s", append(args, h.output)...)
	}
	code, why := h.ProcessState.ExitCode(), h.end().Reason
	if code != f.code {
		complain("exit code %d, want %d (%s)", code, f.code, h.ProcessState)
	}
	if why != f.why {
		complain("reason %q, want %q", why, f.why)
	}
	for _, text := range f.says {
		if !strings.Contains(h.output, text) {
			complain("it does not say %q", text)
		}
	}
	if strings.Contains(h.output, apiserver.Token) || strings.Contains(h.output, "eyJ") {
		complain("it tells the token")
	}
	if strings.Contains(h.output, "goroutine ") || strings.Contains(h.output, "panic") {
		complain("it panics")
	}
	most := max(f.memory, 32)
	if h.memory > most {
		complain("it takes %d MiB, more than %d", h.memory, most)
	}
	if early := f.early(w, h); early != "" {
		counts.Lock()
		counts.early++
		counts.Unlock()
		complain("EARLY: %s", early)
	}
}

// early says what it did not wait for.
func (f *fault) early(w *world, h *hook) string {
	decided := h.decided()
	if held := decided.Sub(h.started); held < f.least {
		return fmt.Sprintf("ended after %s, before %s", held, f.least)
	}
	if decided.Before(w.held) {
		return fmt.Sprintf("ended %s too soon", w.held.Sub(decided))
	}
	if h.ProcessState.ExitCode() != 0 {
		return "" // the budget and signals wait for nobody
	}
	if after := decided.Sub(w.left); !w.left.IsZero() && after < quiet {
		return fmt.Sprintf("ended %s after the window could begin", after)
	}
	if f.deaf {
		return ""
	}
	last, err := w.app.until(decided)
	switch after := decided.Sub(last.began); {
	case err != nil:
		return "a request was lost: " + err.Error()
	case after < quiet && f.why != "":
		return fmt.Sprintf("ended %s after the last arrival was begun, %s after it was over", after, decided.Sub(last.over))
	}
	return ""
}

// slack is what the start and the end of a process may take.
const slack = 400 * time.Millisecond

func (f *fault) late(h *hook, stood time.Duration) string {
	held := h.exited.Sub(h.started)
	most := budget
	if f.most > 0 {
		most = f.most
	}
	if held <= most+slack+stood {
		return ""
	}
	return fmt.Sprintf("ended after %s, later than %s (the machine stood still for %s): %s", held, most, stood, h.end().Msg)
}

// stalls sums how long this machine stood still: a late exit may be due to that.
type stalls struct {
	mu    sync.Mutex
	stood time.Duration
}

func (s *stalls) watch(stop <-chan struct{}) {
	const nap, late = 5 * time.Millisecond, 15 * time.Millisecond
	for {
		select {
		case <-stop:
			return
		default:
		}
		from := time.Now()
		time.Sleep(nap)
		if d := time.Since(from); d > nap+late {
			s.mu.Lock()
			s.stood += d - nap
			s.mu.Unlock()
		}
	}
}

func (s *stalls) sum() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stood
}
