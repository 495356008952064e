package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"lull/kube"
	"lull/wait"
)

const (
	// longHold is how long a hook holds before it is worth an Event that it does.
	longHold = time.Second
	// eventPatience is how long the API server may take for an Event.
	eventPatience = time.Second
	// foresight is how long before the end of the budget the Event says that it runs out:
	// afterwards there is no time to send one.
	foresight = 500 * time.Millisecond
)

// The Events on the pod. Their reasons are an interface: people alert on them.
const (
	reasonDraining = "Draining"      // the hook holds, and has done so for longHold
	reasonDrained  = "Drained"       // it was quiet, or nobody else could take the traffic
	reasonTimedOut = "DrainTimedOut" // the budget ran out first
	reasonBlind    = "DrainBlind"    // something could not be seen; the message says what, and what it did instead
)

// podEvents tells how a hook goes in Events on the pod. It learns that as everybody does, from the
// story's records and from what the status line is told. It is never waited for beyond
// eventPatience nor past the budget; that an Event is refused stands in the story at debug level
// alone, since nothing depends on it.
type podEvents struct {
	record func(context.Context, kube.Event) error
	log    *slog.Logger // not the one that it listens to
	start  time.Time
	quiet  time.Duration

	mu      sync.Mutex
	now     wait.Progress
	arrival string // the story's last line about one
	words   string // the story's last line

	changed  chan struct{}
	quit     chan struct{}
	done     chan struct{}
	timedOut bool // has been told; valid once done is closed
}

// startEvents begins to tell. A nil record means that there is nobody to tell.
func startEvents(record func(context.Context, kube.Event) error, log *slog.Logger, start time.Time, quiet time.Duration) *podEvents {
	e := &podEvents{
		record: record, log: log, start: start, quiet: quiet,
		changed: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if record == nil {
		close(e.done)
		return e
	}
	go e.follow()
	return e
}

// progress takes in what the hook is waiting for.
func (e *podEvents) progress(p wait.Progress) {
	e.mu.Lock()
	e.now = p
	e.mu.Unlock()
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// Enabled, Handle, WithAttrs and WithGroup implement slog.Handler.
func (e *podEvents) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (e *podEvents) WithAttrs([]slog.Attr) slog.Handler           { return e }
func (e *podEvents) WithGroup(string) slog.Handler                { return e }

func (e *podEvents) Handle(_ context.Context, r slog.Record) error {
	attrs := map[string]slog.Value{}
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	switch attrs["event"].String() {
	case "arrival":
		_, what, _ := strings.Cut(r.Message, ": ")
		e.arrival = fmt.Sprintf("last arrival after %.1fs: %s", attrs["at_s"].Float64(), what)
	case "end":
		e.words = r.Message
	}
	return nil
}

// follow tells that the hook holds, and that its budget runs out. It ends when the hook does.
func (e *podEvents) follow() {
	defer close(e.done)
	long := time.After(time.Until(e.start.Add(longHold)))
	for {
		e.mu.Lock()
		p := e.now
		e.mu.Unlock()
		var late <-chan time.Time
		if e.runsOut(p) {
			late = time.After(time.Until(p.Deadline.Add(-e.foresight(p))))
		}
		select {
		case <-e.quit:
			return
		case <-e.changed:
		case <-long:
			long = nil
			e.tell(e.until(p.Deadline), reasonDraining, false,
				fmt.Sprintf("holding SIGTERM for at most %s: waiting for %s", shortly(p.Deadline.Sub(e.start)), awaited(p.Stage)))
		case <-late:
			e.mu.Lock()
			arrival := e.arrival
			e.mu.Unlock()
			line := fmt.Sprintf("the budget of %s runs out while waiting for %s", shortly(p.Deadline.Sub(e.start)), awaited(p.Stage))
			if arrival != "" {
				line += "; " + arrival
			}
			e.timedOut = true
			e.tell(e.until(p.Deadline), reasonTimedOut, true, line)
			return
		}
	}
}

// runsOut reports whether the hook will not end before its budget, as far as can be told. What it
// waits for may come to an end within the foresight, but a whole quiet window cannot follow.
func (e *podEvents) runsOut(p wait.Progress) bool {
	return !p.Deadline.IsZero() && (p.Due.IsZero() || p.Stage != wait.Lull || !p.Due.Before(p.Deadline))
}

// foresight is shorter than the quiet window, and than most of the budget.
func (e *podEvents) foresight(p wait.Progress) time.Duration {
	return min(foresight, e.quiet/2, p.Deadline.Sub(e.start)/4)
}

// until is how long an Event may take.
func (e *podEvents) until(deadline time.Time) time.Duration {
	if deadline.IsZero() {
		return eventPatience
	}
	return min(eventPatience, time.Until(deadline))
}

func (e *podEvents) tell(within time.Duration, reason string, warning bool, line string) {
	if within <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := e.record(ctx, kube.Event{Reason: reason, Message: line, Warning: warning}); err != nil {
		e.log.Debug("no event "+reason+" on the pod: "+err.Error(), "event", "no-event", "reason", reason)
	}
}

// end tells how the hook ended.
func (e *podEvents) end(o wait.Outcome) {
	if e.record == nil {
		return
	}
	close(e.quit)
	patience := e.until(e.start.Add(o.Budget))
	deadline := time.Now().Add(patience)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-e.done:
	case <-late.C:
		return
	}
	reason, warning := reasonDrained, false
	switch {
	case o.Reason == wait.Restart || o.Reason == wait.Interrupted:
		return // nothing was drained
	case o.Reason == wait.Budget || o.Reason == wait.StillOpen:
		if e.timedOut {
			return
		}
		reason, warning = reasonTimedOut, true
	case o.Reason == wait.Slept || len(o.Missing) > 0:
		reason, warning = reasonBlind, true
	}
	e.tell(time.Until(deadline), reason, warning, e.story(o))
}

// story is the whole story in a line.
func (e *podEvents) story(o wait.Outcome) string {
	var parts []string
	if o.Left > 0 {
		parts = append(parts, "out of rotation after "+shortly(o.Left))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.arrival != "" {
		parts = append(parts, e.arrival)
	}
	parts = append(parts, e.words)
	return strings.Join(append(parts, o.Missing...), "; ")
}

// awaited is what a stage waits for, in words.
func awaited(s wait.Stage) string {
	switch s {
	case wait.Removal:
		return "the pod to leave rotation"
	case wait.Handover:
		return "a replacement to become ready"
	case wait.Closing:
		return "open connections to end"
	}
	return "the lull"
}

// shortly prints a duration as the story does.
func shortly(d time.Duration) string {
	return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
}
