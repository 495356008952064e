package main

import (
	"testing"
	"time"

	"lull/wait"
)

// A tick that was under way when the status line was cleared writes no other one.
func TestStatusStopped(t *testing.T) {
	t.Parallel()
	out := &queue{before: clearLine, lines: make(chan []byte, maxLines)}
	s := &status{out: out, now: wait.Progress{Deadline: time.Now().Add(time.Minute)}, quit: make(chan struct{})}
	s.print()
	s.stop()
	s.print()
	if n := len(out.lines); n != 2 {
		t.Fatalf("%d lines, want one and its clearing", n)
	}
	<-out.lines
	if last := string(<-out.lines); last != clearLine {
		t.Errorf("last written: %q", last)
	}
}
