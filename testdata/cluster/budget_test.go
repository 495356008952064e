package cluster

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestBudget: a client that never stops opening connections, straight to the pod. The budget is
// what ends the wait; the app has its reserve and SIGTERM comes before the grace period's end.
func TestBudget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		spec         int64   // terminationGracePeriodSeconds
		asked        []int64 // kubectl delete --grace-period
		linger       string  // what the app needs to shut down
		least, most  time.Duration
		graceInForce time.Duration
	}{
		{"grace 30", 30, nil, "8s", 20 * time.Second, 20500 * time.Millisecond, 30 * time.Second},
		{"grace 60, deleted with 12", 60, []int64{12}, "5s", 6 * time.Second, 6500 * time.Millisecond, 12 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			w := workload{hook: lullHook, grace: c.spec, args: []string{"-linger=" + c.linger}}
			s.peer(w)
			pod := s.pod(w)
			s.expose("web", "app")
			load := s.load("-target", net.JoinHostPort(s.podIP(pod), "8080"), "-rate", "20")
			s.delete(pod, c.asked...)
			e := s.end(pod)
			s.check(e, 3, c.least, c.most)
			if e.done.At.IsZero() || e.done.At.Sub(e.story[0].At) > c.graceInForce+e.stood(e.deleted, e.done.At) {
				t.Errorf("the app was not done within its grace period: done at %v", e.done.At)
			}
			s.until(10*time.Second, "event FailedPreStopHook", func() error {
				if !s.failedHook(t.Context(), pod) {
					return errors.New("none")
				}
				return nil
			})
			s.waitGone(30*time.Second, pod)
			s.stop(load)
		})
	}
}

// TestShortGrace: a grace period of 10 s and all defaults. The window fits, and what is left of the
// time is the app's.
func TestShortGrace(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.deploy(workload{replicas: 2, hook: lullHook, grace: 10})
	s.expose("web", "app")
	pod := s.live("app")[0]
	s.delete(pod)
	s.checkWindow(s.end(pod))
}
