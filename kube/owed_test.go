package kube

import (
	"testing"
	"time"
)

func TestOwed(t *testing.T) {
	start := time.Now()
	second := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	for _, tt := range []struct {
		name    string
		asked   []float64 // when requests were sent
		settled float64   // when one was answered, 0: never
		now     float64
		owed    float64 // seconds
	}{
		{"nothing asked", nil, 0, 20, 0},
		{"asked just now", []float64{20}, 0, 20, 0},
		{"not answered yet", []float64{18}, 0, 20, 2},
		{"answered", []float64{18}, 18.1, 20, 0},
		{"answered, and asked again", []float64{10, 19}, 10.1, 20, 1},
		{"one attempt after the other", []float64{0, 4, 8}, 0, 10, 10},
		{"two at the same time", []float64{0, 0.5, 4, 4.5, 8, 8.5}, 0, 10, 10},
		{"stopped with nothing asked", []float64{1}, 1.1, 61, 0},
		{"stopped in the middle of a request", []float64{1}, 0, 61, 7},
		{"and asked again afterwards", []float64{1, 61}, 0, 62, 8},
		{"silent for a while, then stopped", []float64{0, 4, 8}, 0, 68, 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o owed
			for _, at := range tt.asked {
				if tt.settled != 0 && at > tt.settled {
					o.settle()
				}
				o.ask(second(at))
			}
			if tt.settled != 0 && (len(tt.asked) == 0 || tt.asked[len(tt.asked)-1] < tt.settled) {
				o.settle()
			}
			since, want := o.since(second(tt.now)), time.Duration(tt.owed*float64(time.Second))
			if since.IsZero() {
				since = second(tt.now)
			}
			if got := second(tt.now).Sub(since); got != want {
				t.Errorf("owed for %v, want %v", got, want)
			}
		})
	}
}
