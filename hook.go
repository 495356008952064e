package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"lull/kube"
	"lull/procnet"
	"lull/wait"
)

// waitCmd is the hook.
type waitCmd struct {
	hookFlags  `embed:""`
	storyFlags `embed:""`

	command []string // what to become afterwards
}

func (w *waitCmd) Run(ctx context.Context, start time.Time) error {
	s := openStory(w.storyFlags)
	return w.finish(w.hold(ctx, start, s), s)
}

// ending is how a hook ended: its exit code, and what the command afterwards is told.
type ending struct {
	code       int
	reason     string
	held, left time.Duration
}

// disabledBy is what switches lull off.
func disabledBy() string {
	if value := os.Getenv("LULL_DISABLED"); !isNo(value) {
		return fmt.Sprintf("LULL_DISABLED=%q", value)
	}
	return "--disabled"
}

// startEvents tells the pod's Events how the hook goes, if that is asked for and there is a
// cluster.
func (w *waitCmd) startEvents(control controlPlane, log *slog.Logger, start time.Time) *podEvents {
	var record func(context.Context, kube.Event) error
	if control.watcher != nil && w.Events != "off" {
		record = control.watcher.Record
	}
	return startEvents(record, log, start, w.Quiet)
}

// finish closes the story, and becomes the command if there is one. It returns the exit code as an
// error.
func (w *waitCmd) finish(e ending, s *story) error {
	if len(w.command) > 0 {
		return codeError(become(w.command, e, s))
	}
	s.Close()
	if e.code != exitQuiet {
		return codeError(e.code)
	}
	return nil
}

// closeWithin closes what there is to close, but takes no longer: nothing that is left to do is
// worth a late exit.
func closeWithin(limit time.Duration, closers ...func()) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for _, c := range closers {
			c()
		}
	}()
	select {
	case <-closed:
	case <-time.After(limit):
	}
}

// policy is what the flags ask for.
func (c *hookFlags) policy() wait.Policy {
	p := wait.Policy{
		Quiet: c.Quiet, Min: c.Min, KeepaliveWait: c.KeepaliveWait, Timeout: time.Duration(c.Timeout), Reserve: c.Reserve,
		Handover: c.Handover, Services: c.podFlags.asked(), Ports: c.socketFlags.asked(), Ignore: prefixes(c.Ignore),
		NodeAddrs: procnet.Gateways("/proc"), InPod: inPod(), MaxOpen: c.MaxOpen.limit,
	}
	if c.Drain != nil {
		p.Drain = c.Drain.drain
	}
	return p
}

// exitCode is what the kubelet and a person hear of the outcome.
func (w *waitCmd) exitCode(o wait.Outcome, cause error) int {
	var signalled codeError
	switch {
	case o.Reason == wait.Budget && w.OnTimeout == "fail":
		return exitBudget
	case o.Reason == wait.Interrupted && errors.As(cause, &signalled):
		return int(signalled)
	case o.Reason == wait.Interrupted:
		return exitError
	}
	return exitQuiet
}
