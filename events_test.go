package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/kube"
	"lull/wait"
)

// recorder is an API server that takes some time for each Event.
type recorder struct {
	start time.Time
	takes time.Duration
	err   error

	mu  sync.Mutex
	got []string
}

func (r *recorder) record(ctx context.Context, e kube.Event) error {
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	kind := "Normal"
	if e.Warning {
		kind = "Warning"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, fmt.Sprintf("%s %s %s: %s", shortly(time.Since(r.start)), kind, e.Reason, e.Message))
	return r.err
}

// hookWords is what a hook's policy tells: after how long which stage is due when, and how it ends.
type hookWords struct {
	after time.Duration
	stage wait.Stage
	due   time.Duration // 0: nobody knows
}

func TestPodEvents(t *testing.T) {
	t.Parallel()
	const budget, quiet = 20 * time.Second, 5 * time.Second
	removal, lull := hookWords{0, wait.Removal, 0}, hookWords{100 * time.Millisecond, wait.Lull, 5100 * time.Millisecond}
	busy := hookWords{18 * time.Second, wait.Lull, 23 * time.Second}
	for _, tt := range []struct {
		name  string
		takes time.Duration
		words []hookWords
		o     wait.Outcome
		want  []string
		ends  time.Duration // when the hook may end; as the policy does if zero
	}{
		{"drained", 0, []hookWords{removal, lull},
			wait.Outcome{Reason: wait.Quiet, Held: 5100 * time.Millisecond, Left: 100 * time.Millisecond},
			[]string{"1s Normal Draining: holding SIGTERM for at most 20s: waiting for the lull",
				"5.1s Normal Drained: out of rotation after 0.1s; the last words"}, 0},
		{"a restart", 0, []hookWords{removal}, wait.Outcome{Reason: wait.Restart, Held: 500 * time.Millisecond}, nil, 0},
		{"ended at once", 0, []hookWords{lull}, wait.Outcome{Reason: wait.Quiet, Held: 700 * time.Millisecond, Left: -1},
			[]string{"0.7s Normal Drained: the last words"}, 0},
		{"interrupted", 0, []hookWords{removal}, wait.Outcome{Reason: wait.Interrupted, Held: 3 * time.Second},
			[]string{"1s Normal Draining: holding SIGTERM for at most 20s: waiting for the pod to leave rotation"}, 0},
		{"slept", 0, []hookWords{lull}, wait.Outcome{Reason: wait.Slept, Held: 15 * time.Second, Missing: []string{"no sockets"}},
			[]string{"1s Normal Draining: holding SIGTERM for at most 20s: waiting for the lull",
				"15s Warning DrainBlind: the last words; no sockets"}, 0},
		{"without the slices", 0, []hookWords{lull}, wait.Outcome{Reason: wait.Quiet, Held: 10 * time.Second, Missing: []string{"no slices"}},
			[]string{"1s Normal Draining: holding SIGTERM for at most 20s: waiting for the lull",
				"10s Warning DrainBlind: the last words; no slices"}, 0},
		{"ran out of budget", 0, []hookWords{lull, busy}, wait.Outcome{Reason: wait.Budget, Held: budget},
			[]string{"1s Normal Draining: holding SIGTERM for at most 20s: waiting for the lull",
				"19.5s Warning DrainTimedOut: the budget of 20s runs out while waiting for the lull; last arrival after 18.0s: a call"}, 0},
		{"quiet at the last moment", 0, []hookWords{lull, {15 * time.Second, wait.Lull, 19900 * time.Millisecond}},
			wait.Outcome{Reason: wait.Quiet, Held: 19900 * time.Millisecond, Left: -1},
			[]string{"1s Normal Draining: holding SIGTERM for at most 20s: waiting for the lull",
				"19.9s Normal Drained: last arrival after 15.0s: a call; the last words"}, 0},
		{"never out of rotation", 0, []hookWords{removal}, wait.Outcome{Reason: wait.Budget, Held: budget},
			[]string{"1s Normal Draining: holding SIGTERM for at most 20s: waiting for the pod to leave rotation",
				"19.5s Warning DrainTimedOut: the budget of 20s runs out while waiting for the pod to leave rotation"}, 0},
		{"a silent API server", time.Hour, []hookWords{lull}, wait.Outcome{Reason: wait.Quiet, Held: 5100 * time.Millisecond}, nil, 6100 * time.Millisecond},
		{"a silent API server at the budget's end", time.Hour, []hookWords{lull, busy}, wait.Outcome{Reason: wait.Budget, Held: budget}, nil, budget},
		{"a slow API server twice", 700 * time.Millisecond, []hookWords{lull}, wait.Outcome{Reason: wait.Quiet, Held: 1100 * time.Millisecond},
			[]string{"1.7s Normal Draining: holding SIGTERM for at most 20s: waiting for the lull"}, 2100 * time.Millisecond},
		{"a slow API server near the budget's end", 700 * time.Millisecond, []hookWords{{0, wait.Lull, 19800 * time.Millisecond}},
			wait.Outcome{Reason: wait.Quiet, Held: 19800 * time.Millisecond},
			[]string{"1.7s Normal Draining: holding SIGTERM for at most 20s: waiting for the lull"}, budget},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				r := &recorder{start: start, takes: tt.takes}
				e := startEvents(r.record, slog.New(slog.DiscardHandler), start, quiet)
				story := slog.New(e)
				for _, w := range tt.words {
					time.Sleep(time.Until(start.Add(w.after)))
					p := wait.Progress{Stage: w.stage, Deadline: start.Add(budget)}
					if w.due != 0 {
						p.Due = start.Add(w.due)
					}
					if w.after > time.Second {
						story.Info("last arrival 0s ago: a call", "event", "arrival", "at_s", w.after.Seconds())
					}
					e.progress(p)
				}
				time.Sleep(time.Until(start.Add(tt.o.Held)))
				story.Info("the last words", "event", "end")
				tt.o.Budget = budget
				e.end(tt.o)
				if ends := max(tt.ends, tt.o.Held); time.Since(start) != ends {
					t.Errorf("the hook could end after %v, want %v", time.Since(start), ends)
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				if !slices.Equal(r.got, tt.want) {
					t.Errorf("got:\n%s\nwant:\n%s", strings.Join(r.got, "\n"), strings.Join(tt.want, "\n"))
				}
			})
		})
	}
}

// A refusal is told at debug level alone; without a cluster nothing is told at all.
func TestPodEventsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines strings.Builder
		log := slog.New(handler("text", false, slog.LevelDebug, &lines))
		r := &recorder{start: time.Now(), err: errors.New("no permission")}
		e := startEvents(r.record, log, r.start, time.Second)
		e.end(wait.Outcome{Reason: wait.Quiet, Budget: time.Minute})
		if want := "lull: debug: no event Drained on the pod: no permission\n"; lines.String() != want {
			t.Errorf("%q, want %q", lines.String(), want)
		}
		e = startEvents(nil, log, r.start, time.Second)
		e.progress(wait.Progress{})
		e.end(wait.Outcome{Reason: wait.Quiet})
	})
}

// A hook's Events reach the API server, and lull goes on without where they do not.
func TestHookEvents(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args string
		want []string
	}{
		{"quiet", "--quiet 1200ms", []string{"Normal Draining", "Normal Drained"}},
		{"off", "--quiet 1200ms --events off", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster()
			c.pod().DeletionTimestamp, c.pod().DeletionGracePeriodSeconds = new(metav1.Now()), new(int64(30))
			c.slice().Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
			args := append([]string{"wait", "--format=text", "--port=1", "--pod=web-0", "--kubeconfig", c.serve(t)}, strings.Fields(tt.args)...)
			start := time.Now()
			_, stderr, code := lull(t, nil, args...)
			if code != 0 || !strings.Contains(stderr, "quiet for 1.") {
				t.Errorf("exit code %d after %v\n%s", code, time.Since(start), stderr)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			var got []string
			for _, e := range c.events {
				got = append(got, e.Type+" "+e.Reason)
				if e.InvolvedObject.Name != "web-0" || e.InvolvedObject.UID != c.pod().UID || e.Message == "" {
					t.Errorf("%+v", e)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
