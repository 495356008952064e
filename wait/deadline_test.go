package wait

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadline checks that the end of the budget is told, at first and when it changes.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var told []time.Duration
		p := Policy{Quiet: time.Second, Reserve: 10 * time.Second, Deadline: func(at time.Time) { told = append(told, at.Sub(start)) }}
		r := newRun(p, nil, nil)
		r.view = View{PodKnown: true, Deleting: true, Grace: 60 * time.Second}
		r.fund()
		r.fund()
		if len(told) != 2 || told[0] != 20*time.Second || told[1] != 50*time.Second {
			t.Errorf("told %v, want 20s and 50s", told)
		}
	})
}
