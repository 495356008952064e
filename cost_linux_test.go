package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"lull/testdata/crowd"
	"lull/testdata/markdown"
)

// waiting is one run of lull while many connections are open, with an activity beside it.
type waiting struct {
	Lull        string // the binary
	Source      string
	Connections int
	What        string // the activity's name
	Seconds     int    // how much of the waiting is measured
}

// spent is what waiting took.
type spent struct {
	CPU    time.Duration // CPU time during Seconds of waiting
	Whole  time.Duration // CPU time from lull's start to its end
	Peak   int           // peak memory in KiB
	Late   time.Duration // how long after the end of the window lull ended
	Early  bool          // lull ended before the end of the window
	SS     time.Duration // how long ss takes to list the port's connections
	Stalls time.Duration // how long the machine stood still since the last arrival
}

// run is the waiting itself, in a namespace of its own.
func (w waiting) run() (s spent, err error) {
	var machine stalls
	go machine.watch()
	var c crowd.Crowd
	defer c.Kill()
	if err := c.Hold(watchedPort, w.Connections); err != nil {
		return s, err
	}
	beside := activities[slices.IndexFunc(activities, func(a activity) bool { return a.name == w.What })]
	type end struct {
		last time.Time
		err  error
	}
	stop, ended := make(chan struct{}), make(chan end, 1)
	go func() {
		last, err := beside.run(&c, stop)
		ended <- end{last, err}
	}()
	finish := sync.OnceValue(func() end {
		close(stop)
		return <-ended
	})
	defer finish()
	time.Sleep(time.Second) // the activity has been set up by then

	quiet := 5 * time.Second
	if beside.harmless(w.Source) {
		quiet = time.Duration(w.Seconds+4) * time.Second // so that the window lasts longer than the measurement
	}
	args := []string{"--port", strconv.Itoa(watchedPort), "--quiet", quiet.String(), "--timeout", "10m", "--keepalive-wait", "10m", "--source", w.Source}
	began := time.Now()
	h, err := startHook(w.Lull, append(args, beside.ports...)...)
	if err != nil {
		return s, err
	}
	defer h.Process.Kill()
	last := time.Now() // the window began before
	if s.CPU, err = h.cpuDuring(time.Duration(w.Seconds) * time.Second); err != nil {
		return s, err
	}
	if !beside.harmless(w.Source) {
		e := finish()
		if began, last = e.last, e.last; e.err != nil {
			return s, e.err
		}
	}
	s.Peak = h.waitForEnd()
	s.Whole = h.ProcessState.UserTime() + h.ProcessState.SystemTime()
	s.Late, s.Stalls = h.at.Sub(last)-quiet, machine.since(last)
	s.Early = h.end().Time.Sub(began) < quiet
	if code := h.ProcessState.ExitCode(); code != exitQuiet {
		return s, fmt.Errorf("exit code %d: %s", code, h.end().Msg)
	}
	s.SS, err = timeSS(watchedPort)
	return s, err
}

// measure runs the waiting, and again if lull ended late: where no CPU is free the kernel may take
// long to end a process. Lateness that is lull's own comes back.
func (w waiting) measure(t *testing.T) (s spent) {
	for range 3 {
		var err error
		if s, err = runIsolated[spent](t.Context(), "waiting", w); err != nil {
			t.Error(err)
		}
		if err != nil || !s.late(w) {
			break
		}
		t.Logf("%s, %d connections, %s: ended %s after its window, not %s", w.Source, w.Connections, w.What, s.Late, s.allowed())
	}
	return s
}

// timeSS returns how long ss takes to list the connections on a port. On the same machine at the
// same time, that is what lull's last look is compared with.
func timeSS(port int) (took time.Duration, err error) {
	for range 3 {
		began := time.Now()
		if err := exec.Command("ss", "-Htn", "sport", "=", fmt.Sprintf(":%d", port)).Run(); err != nil {
			return 0, err
		}
		took = max(took, time.Since(began))
	}
	return took, nil
}

// allowed returns how long after the end of the window lull may exit: late, or longer where many
// connections make the last look alone take longer on a slow machine.
func (s spent) allowed() time.Duration {
	const events = 50 * time.Millisecond // a look waits so long for events that are late
	return max(late, s.SS*3/2+events) + s.Stalls
}

func (s spent) late(w waiting) bool { return w.Source == "netlink" && s.Late > s.allowed() }

// TestWaiting measures what lull costs while it waits and at its end. It checks the ratios that are
// promised, and the time of the exit. LULL_CROWD=n opens n connections in the larger settings,
// which are then measured one at a time.
func TestWaiting(t *testing.T) {
	path := shippedBinary(t)
	if _, err := exec.LookPath("ss"); err != nil {
		t.Skip("needs ss: ", err)
	}
	large, seconds, atOnce := 2000, 3, 4
	if n, err := strconv.Atoi(os.Getenv("LULL_CROWD")); err == nil {
		large, seconds, atOnce = n, 20, 1
	}
	var settings []waiting
	for _, source := range []string{"netlink", "proc"} {
		settings = append(settings, waiting{path, source, 0, "nothing", seconds})
		for _, a := range activities {
			settings = append(settings, waiting{path, source, large, a.name, seconds})
		}
	}
	results := make([]spent, len(settings))
	var group sync.WaitGroup
	indices := make(chan int)
	for range atOnce {
		group.Go(func() {
			for i := range indices {
				results[i] = settings[i].measure(t)
			}
		})
	}
	for i := range settings {
		indices <- i
	}
	close(indices)
	group.Wait()
	text := fmt.Sprintf("| source | connections | meanwhile | CPU of a core for %d s of waiting | CPU in all | peak memory | exit after the window |\n|---|---|---|---|---|---|---|\n", seconds)
	for i, w := range settings {
		text += results[i].row(w)
		results[i].check(t, w)
		if w.Connections > 0 && w.What == "nothing" {
			checkRatio(t, w, results[i-1].CPU, results[i].CPU)
		}
	}
	t.Log("\n" + text)
	if _, err := markdown.Section("procnet/README.md", "waiting", text, *update); err != nil {
		t.Error(err)
	}
}

func (s spent) row(w waiting) string {
	return fmt.Sprintf("| %s | %d | %s | %.2f%% | %.0f ms | %.1f MiB | %.0f ms |\n", w.Source, w.Connections, w.What,
		100*s.CPU.Seconds()/float64(w.Seconds), s.Whole.Seconds()*1e3, float64(s.Peak)/1024, s.Late.Seconds()*1e3)
}

func (s spent) check(t *testing.T, w waiting) {
	t.Helper()
	where := fmt.Sprintf("%s, %d connections, %s", w.Source, w.Connections, w.What)
	switch {
	case s.Early:
		t.Errorf("%s: ended before its window", where)
	case s.late(w):
		t.Errorf("%s: ended %s after its window, not %s", where, s.Late, s.allowed())
	case s.Peak > 32<<10:
		t.Errorf("%s: a peak of %d KiB", where, s.Peak)
	}
}

// checkRatio checks that idle connections cost nothing. Both times are close to zero, and one more
// timer that fires is not a cost: noise allows for it.
func checkRatio(t *testing.T, w waiting, empty, full time.Duration) {
	t.Helper()
	const noise = 5 * time.Millisecond
	if ratio := float64(full+noise) / float64(empty+noise); ratio > 1.5 {
		t.Errorf("%s: waiting with %d idle connections takes %s, with none %s", w.Source, w.Connections, full, empty)
	}
}
