package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/testdata/cluster/load/report"
	"lull/testdata/cluster/node"
)

// line is one line of a container's log that is a JSON object: the app's or lull's.
type line struct {
	At     time.Time `json:"time"` // when it was written
	Msg    string
	Level  string
	Logger string  // "lull" for the hook's
	Event  string  // lull's
	Reason string  // of lull's event "end"
	Stage  string  // the same
	HeldS  float64 `json:"held_s"`
	// Budget is the hook's in seconds, in its events "budget" and "end".
	BudgetS float64 `json:"budget_s"`

	Connections, Requests, Late int64   // the app's at SIGTERM and at its end
	Seconds                     float64 // of the app's "done" and "stalled"
	Open                        int
}

func (s *scene) lines(pod string) []line {
	var lines []line
	for _, l := range s.node.PodLog(s.ns, pod, "app") {
		var x line
		if json.Unmarshal([]byte(l.Text), &x) == nil {
			lines = append(lines, x)
		}
	}
	return lines
}

// end is how a pod's life ended.
type end struct {
	pod     string
	deleted time.Time
	sigterm line // the app's; its at is when SIGTERM came
	done    line // the app's; zero if it was killed
	story   []line
	last    line    // the story's last line; zero without one
	stalls  []stall // when the pod stood still
}

// stood is how long the pod, or the machine, stood still in that time.
func (e end) stood(from, to time.Time) time.Duration { return stalls.with(e.stalls, from, to) }

// note takes a line of the pod's log that tells of a stall.
func (e *end) note(l line) {
	e.stalls = append(e.stalls, stall{l.At.Add(-time.Duration(l.Seconds * float64(time.Second))), l.At})
}

// held is how long SIGTERM was held back after the deletion.
func (e end) held() time.Duration { return e.sigterm.At.Sub(e.deleted) }

// began is when lull did, by its own account. The kubelet on a busy machine may take a second or two
// to begin the hook, and counts the grace period from when it does.
func (e end) began() time.Time {
	if e.last.At.IsZero() {
		return e.story0()
	}
	return e.last.At.Add(-time.Duration(e.last.HeldS * float64(time.Second)))
}

// hook is how long SIGTERM was held back since then.
func (e end) hook() time.Duration { return e.sigterm.At.Sub(e.began()) }

// story0 is when lull said its first word; when the pod was deleted, if it said none.
func (e end) story0() time.Time {
	if len(e.story) == 0 {
		return e.deleted
	}
	return e.story[0].At
}

// exit is lull's exit code, from the story's end; -1 without one.
func (e end) exit() int {
	switch e.last.Reason {
	case "quiet", "slept", "restart", "alone":
		return 0
	case "budget":
		return 3
	case "interrupted":
		return 143
	}
	return -1
}

// left is when lull saw the pod leave rotation, since it began; 0 if it did not.
func (e end) left() time.Duration {
	for _, l := range e.story {
		if l.Event == "left" {
			return l.At.Sub(e.began())
		}
	}
	return 0
}

// told reports whether a line of the story matches.
func (e end) told(pattern string) bool {
	re := regexp.MustCompile(pattern)
	for _, l := range e.story {
		if re.MatchString(l.Msg) {
			return true
		}
	}
	return false
}

func (e end) text() string {
	var b strings.Builder
	for _, l := range e.story {
		fmt.Fprintf(&b, "\n    %6.2f  %s", l.At.Sub(e.deleted).Seconds(), l.Msg)
	}
	return b.String()
}

// end reads how a pod ended, once its app has had its SIGTERM and is done.
func (s *scene) end(pod string) end {
	s.Helper()
	var e end
	s.until(90*time.Second, "SIGTERM in pod "+pod, func() error {
		s.mu.Lock()
		e = end{pod: pod, deleted: s.deleted[pod]}
		gone := !s.gone[pod].IsZero()
		s.mu.Unlock()
		for _, l := range s.lines(pod) {
			switch {
			case l.Logger == "lull":
				e.story = append(e.story, l)
				if l.Event == "end" {
					e.last = l
				}
			case l.Msg == "sigterm":
				e.sigterm = l
			case l.Msg == "done":
				e.done = l
			case l.Msg == "stalled":
				e.note(l)
			}
		}
		if e.sigterm.At.IsZero() || (e.done.At.IsZero() && !gone) {
			return errors.New("not yet")
		}
		return nil
	})
	return e
}

// failedHook reports whether the kubelet recorded that the pod's hook failed.
func (s *scene) failedHook(ctx context.Context, pod string) (event bool) {
	s.Helper()
	list, err := s.client.CoreV1().Events(s.ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedPreStopHook,involvedObject.name=" + pod})
	if err != nil {
		s.Error(err)
		return false
	}
	return len(list.Items) > 0
}

// load starts the load generator; the function that it returns stops it.
func (s *scene) load(flags ...string) *node.Load {
	s.Helper()
	l, err := s.node.StartLoad(s.Context(), flags...)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _, _ = l.Stop() }) // of a scenario that fails before
	return l
}

func (s *scene) stop(l *node.Load) report.Report {
	s.Helper()
	r, err := l.Stop()
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// report is what a load that runs in a pod has found out, once it has ended.
func (s *scene) report(pod, container string) (r report.Report) {
	s.Helper()
	s.until(30*time.Second, "the report of the load in pod "+pod, func() (err error) {
		lines := s.node.PodLog(s.ns, pod, container)
		if len(lines) == 0 {
			return errors.New("none yet")
		}
		r, err = node.ParseReport([]byte(lines[len(lines)-1].Text))
		return err
	})
	return r
}

// passing is how long SIGTERM may take from lull's last word: its exit, the runtime and the kubelet.
// It is some 10 to 100 ms, but seconds where no CPU is free, and none of it is lull's.
const passing = 3 * time.Second

// check fails the test unless lull exited with the code and held SIGTERM for between least and most.
func (s *scene) check(e end, exit int, least, most time.Duration) {
	s.Helper()
	s.Logf("%s: exit %d, SIGTERM %.2f s after the deletion, %.2f s after lull began:%s", e.pod, e.exit(), e.held().Seconds(), e.hook().Seconds(), e.text())
	stalled := e.stood(e.began(), e.sigterm.At)
	if exit == 0 && e.exit() == 0 {
		s.clean(e.pod)
	}
	// A removal takes less than a second where there is a processor for the control plane.
	removal := min(max(0, e.left()-time.Second), 5*time.Second)
	if removal > 0 {
		s.Logf("%s: out of rotation %s later than usual", e.pod, removal)
		stalled += removal
	}
	// Where the machine stood still the window may not fit into the budget any more, or probes may
	// come in a bunch that looks like a client.
	unfit := e.left()+window > time.Duration(e.last.BudgetS*float64(time.Second))
	if e.exit() != exit && (e.exit() != 3 || stalled < time.Second && !unfit) {
		s.Errorf("%s: exit code %d, want %d (the machine stood still for %s)", e.pod, e.exit(), exit, stalled)
	}
	const rounding = 10 * time.Millisecond
	if asked := s.asked(e.pod); e.began().Before(asked.Add(-rounding)) {
		s.Errorf("%s: by lull's own account it began at %s, %s before the deletion", e.pod, clock(e.began()), asked.Sub(e.began()))
	}
	// What counts is when lull decided: SIGTERM may come seconds later, which is not lull's doing.
	held := e.last.At.Sub(e.began())
	if min(e.hook(), held) < least-rounding {
		s.Errorf("%s: too soon: lull held SIGTERM for %s, which came after %s, want at least %s", e.pod, held, e.hook(), least)
	}
	if held > most+stalled {
		s.Errorf("%s: too late: lull took %s, want at most %s (the machine stood still for %s)", e.pod, held, most, stalled)
	}
	if took := e.sigterm.At.Sub(e.last.At); took > passing+stalled {
		s.Errorf("%s: SIGTERM came %s after lull's last word (the machine stood still for %s)", e.pod, took, stalled)
	}
}

// checkUncalled is check for a pod that nobody calls but the kubelet. A probe that is late passes for
// a client, as it should: that is one window more.
func (s *scene) checkUncalled(e end, most time.Duration) {
	s.Helper()
	if e.has("arrival") {
		s.Logf("%s: a probe passed for a client", e.pod)
		most += 5 * time.Second
	}
	s.check(e, 0, 5*time.Second, most)
}

// window is lull's quiet window, and prompt how much later than that lull may leave a pod that nobody
// calls.
const (
	window = 5 * time.Second
	prompt = 1500 * time.Millisecond
)

// checkWindow is check for a pod that has one window to wait: it is out with code 0 when that is
// over.
func (s *scene) checkWindow(e end) {
	s.Helper()
	s.checkPrompt(e, window)
}

// checkPrompt is check for a pod that nobody calls and that may leave after least: it does so soon.
// Where the machine stood still, or had no processor to spare, a probe may come late and pass for a
// client, as it should: that is one window more.
func (s *scene) checkPrompt(e end, least time.Duration) {
	s.Helper()
	most := least + prompt
	stalled, busy := e.stood(e.began(), e.sigterm.At), stalls.busy(e.began(), e.sigterm.At)
	if (stalled > 250*time.Millisecond || busy > time.Second) && e.has("arrival") {
		s.Logf("%s: the machine stood still for %s and was busy for %s, and a probe passed for a client", e.pod, stalled, busy)
		most += window
	}
	s.check(e, 0, least, most)
}

// checkServed is for a pod that may not leave before its newest client has been gone for a window.
func (s *scene) checkServed(e end, newest time.Time) {
	s.Helper()
	quiet := e.last.At.Sub(newest)
	s.Logf("%s: lull ended %.2f s after the last client began", e.pod, quiet.Seconds())
	if newest.IsZero() || quiet < window {
		s.Errorf("%s: too soon: lull ended at %s, the last client began at %s", e.pod, clock(e.last.At), clock(newest))
	}
}

// has reports whether the story has an event.
func (e end) has(event string) bool {
	return slices.ContainsFunc(e.story, func(l line) bool { return l.Event == event })
}

// clean has the test fail in the end if the kubelet says that the pod's hook failed: what lull's last
// words are it may have exited otherwise.
func (s *scene) clean(pod string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed = append(s.passed, pod)
}

// wants fails the test unless each pattern matches a line of the story.
func (s *scene) wants(e end, patterns ...string) {
	s.Helper()
	for _, p := range patterns {
		if !e.told(p) {
			s.Errorf("%s: the story has no line like %q", e.pod, p)
		}
	}
}

// podIP is a pod's address in the first family.
func (s *scene) podIP(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[name].Status.PodIP
}
