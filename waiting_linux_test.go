package main

import (
	"context"
	"fmt"
	"io"
	"net"
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

// waiting is lull that waits while many connections are open, and what else goes
// on there.
type waiting struct {
	Lull        string // the binary
	Source      string
	Connections int
	What        string // a pastime's name
	Seconds     int    // of waiting that are measured
}

// spent is what that took.
type spent struct {
	CPU    time.Duration // while it waited
	Whole  time.Duration // from its start to its end
	Peak   int           // KiB
	Late   time.Duration // how long after the window it ended
	Early  bool          // that was before the window
	Asked  time.Duration // how long ss takes to list the port's connections
	Stalls time.Duration // the machine stood still so long meanwhile
}

const watchedPort, neighbourPort, keepalivePort = 18080, 18081, 18082

// pastime goes on while lull waits.
type pastime struct {
	name string
	// run returns when stop is closed: when what arrived last was begun.
	run func(c *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error)
	// harmless: it is no arrival, and goes on past lull's end.
	harmless func(source string) bool
	ports    []string
}

var pastimes = []pastime{
	{"nothing", nothing, always, nil},
	{"a byte a second on one of them", aByteASecond, never, nil},
	// The source proc can't tell these from requests: on loopback the keepalives
	// themselves arrive in the namespace, not only their answers.
	{"the app's own keepalives", keepalives, netlinkOnly, []string{"--port", strconv.Itoa(keepalivePort)}},
	{"1,000 connections a second to another port", shortOnes(neighbourPort), netlinkOnly, nil},
	{"1,000 connections a second to the app", shortOnes(watchedPort), never, nil},
}

func always(string) bool             { return true }
func never(string) bool              { return false }
func netlinkOnly(source string) bool { return source == "netlink" }

func nothing(_ *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error) {
	<-stop
	return last, nil
}

// aByteASecond comes on one of the connections.
func aByteASecond(c *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error) {
	for {
		last = time.Now()
		if err := c.Byte(watchedPort); err != nil {
			return last, err
		}
		select {
		case <-stop:
			return last, nil
		case <-time.After(time.Second):
		}
	}
}

// keepalives are those of a Go server for a hundred idle connections.
func keepalives(_ *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error) {
	l, err := listenOn(keepalivePort)
	if err != nil {
		return last, err
	}
	defer l.Close()
	every := net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second}
	for range 100 {
		client, err := (&net.Dialer{KeepAlive: -1}).Dial("tcp", l.Addr().String())
		if err != nil {
			return last, err
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			return last, err
		}
		defer server.Close()
		if err := server.(*net.TCPConn).SetKeepAliveConfig(every); err != nil {
			return last, err
		}
	}
	<-stop
	return time.Now(), nil
}

// shortOnes are 1,000 connections a second that the server closes.
func shortOnes(port int) func(*crowd.Crowd, <-chan struct{}) (time.Time, error) {
	return func(_ *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error) {
		l, err := listenOn(port)
		if err != nil {
			return last, err
		}
		var group sync.WaitGroup
		defer group.Wait()
		defer l.Close()
		group.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.CopyN(c, c, 1)
				c.Close()
			}
		})
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-stop:
				return last, nil
			case <-tick.C:
			}
			last = time.Now()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return last, err
			}
			if _, err = c.Write([]byte("x")); err == nil {
				_, err = io.ReadAll(c)
			}
			if c.Close(); err != nil {
				return last, err
			}
		}
	}
}

func listenOn(port int) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	return config.Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// run is the waiting, on its stage.
func (w waiting) run() (s spent, err error) {
	var standing stalls
	go standing.watch()
	var c crowd.Crowd
	defer c.Kill()
	if err := c.Hold(watchedPort, w.Connections); err != nil {
		return s, err
	}
	p := pastimes[slices.IndexFunc(pastimes, func(p pastime) bool { return p.name == w.What })]
	type end struct {
		last time.Time
		err  error
	}
	stop, ended := make(chan struct{}), make(chan end, 1)
	go func() {
		last, err := p.run(&c, stop)
		ended <- end{last, err}
	}()
	finish := sync.OnceValue(func() end {
		close(stop)
		return <-ended
	})
	defer finish()
	time.Sleep(time.Second) // what sets it up is past

	quiet := 5 * time.Second
	if p.harmless(w.Source) {
		quiet = time.Duration(w.Seconds+4) * time.Second // so that it is measured while it waits for this
	}
	args := []string{"--port", strconv.Itoa(watchedPort), "--quiet", quiet.String(), "--timeout", "10m", "--keepalive-wait", "10m", "--source", w.Source}
	began := time.Now()
	h, err := startHook(w.Lull, append(args, p.ports...)...)
	if err != nil {
		return s, err
	}
	defer h.Process.Kill()
	last := time.Now() // the window began before
	if s.CPU, err = h.during(time.Duration(w.Seconds) * time.Second); err != nil {
		return s, err
	}
	if !p.harmless(w.Source) {
		e := finish()
		if began, last = e.last, e.last; e.err != nil {
			return s, e.err
		}
	}
	s.Peak = h.wait()
	s.Whole = h.ProcessState.UserTime() + h.ProcessState.SystemTime()
	s.Late, s.Stalls = h.at.Sub(last)-quiet, standing.since(last)
	s.Early = h.end().Time.Sub(began) < quiet
	if code := h.ProcessState.ExitCode(); code != exitQuiet {
		return s, fmt.Errorf("exit code %d: %s", code, h.end().Msg)
	}
	s.Asked, err = ask(watchedPort)
	return s, err
}

// measure is the waiting again if lull ended late: where no CPU is free the kernel
// may take long to end a process. Lateness that is lull's own comes back.
func (w waiting) measure(t *testing.T) (s spent) {
	for range 3 {
		var err error
		if s, err = perform[spent](t.Context(), "waiting", w); err != nil {
			t.Error(err)
		}
		if err != nil || !s.late(w) {
			break
		}
		t.Logf("%s, %d connections, %s: ended %s after its window, not %s", w.Source, w.Connections, w.What, s.Late, s.allowed())
	}
	return s
}

// ask lists the connections on a port with ss, and tells how long that takes: on
// the same machine, at the same time, it is a measure for lull's last look.
func ask(port int) (took time.Duration, err error) {
	for range 3 {
		began := time.Now()
		if err := exec.Command("ss", "-Htn", "sport", "=", fmt.Sprintf(":%d", port)).Run(); err != nil {
			return 0, err
		}
		took = max(took, time.Since(began))
	}
	return took, nil
}

// allowed is how much later than the window lull may end: late, but with a crowd
// the last look alone may take longer on a slow machine.
func (s spent) allowed() time.Duration {
	const events = 50 * time.Millisecond // a look waits for those that are late
	return max(late, s.Asked*3/2+events) + s.Stalls
}

func (s spent) late(w waiting) bool { return w.Source == "netlink" && s.Late > s.allowed() }

// wait returns lull's peak memory in KiB once it has ended.
func (h *hook) wait() (peak int) {
	for {
		select {
		case <-h.ended:
			return peak
		case <-time.After(100 * time.Millisecond):
			peak = max(peak, h.peak())
		}
	}
}

// during is how much CPU lull takes for so long, once it has started.
func (h *hook) during(d time.Duration) (time.Duration, error) {
	time.Sleep(2 * time.Second)
	before, err := h.cpu()
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	after, err := h.cpu()
	if err != nil {
		return 0, fmt.Errorf("lull ended while it was measured: %w", err)
	}
	return after - before, nil
}

// TestWaiting measures what lull costs while it waits, and afterwards. LULL_CROWD
// is the number of connections in the larger settings, which are then measured one
// by one; what is promised are ratios and the exit.
func TestWaiting(t *testing.T) {
	path := binary(t)
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
		for _, p := range pastimes {
			settings = append(settings, waiting{path, source, large, p.name, seconds})
		}
	}
	results := make([]spent, len(settings))
	var group sync.WaitGroup
	turn := make(chan int)
	for range atOnce {
		group.Go(func() {
			for i := range turn {
				results[i] = settings[i].measure(t)
			}
		})
	}
	for i := range settings {
		turn <- i
	}
	close(turn)
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

// checkRatio: a crowd that is idle costs nothing. Both are next to that, and a
// timer that fires once more is no cost.
func checkRatio(t *testing.T, w waiting, empty, full time.Duration) {
	t.Helper()
	const noise = 5 * time.Millisecond
	if ratio := float64(full+noise) / float64(empty+noise); ratio > 1.5 {
		t.Errorf("%s: waiting with %d idle connections takes %s, with none %s", w.Source, w.Connections, full, empty)
	}
}
