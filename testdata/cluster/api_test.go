package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"lull/testdata/cluster/node"
)

// outage takes the API server away and brings it back.
type outage struct {
	name        string
	begin, over func(context.Context, *scene) error
}

var outages = []outage{
	{"stopped",
		func(_ context.Context, s *scene) error { return s.node.Freeze("kube-apiserver") },
		func(ctx context.Context, s *scene) error {
			return errors.Join(s.node.Thaw("kube-apiserver"), s.node.WaitAPI(ctx))
		}},
	{"killed",
		func(ctx context.Context, s *scene) error { return s.node.KillAPI(ctx) },
		func(ctx context.Context, s *scene) error { return s.node.RestartAPI(ctx) }},
}

// ownNode has the next test start a node of its own. Once the API server has been away, its clients
// try again after pauses that grow to 30 s and more: a new pod was not ready after a minute.
func ownNode(t *testing.T) {
	t.Cleanup(func() {
		if err := stopShared(); err != nil {
			t.Error(err)
		}
	})
}

// start begins the outage; the function that it returns ends it, and is called at the test's end at
// the latest.
func (o outage) start(s *scene) (over func()) {
	s.Helper()
	done := false
	over = func() {
		if done {
			return
		}
		done = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := o.over(ctx, s); err != nil {
			s.Error(err)
		}
	}
	s.Cleanup(over)
	if err := o.begin(s.Context(), s); err != nil {
		s.Fatal(err)
	}
	return over
}

// TestAPIGone takes the API server away from three hooks at a time, each in another stage: one
// whose hook has yet to begin (the kubelet ends the pod on its own, by activeDeadlineSeconds), one
// that waits for its removal (the controllers are stopped, so it does not come), and one in the
// lull. Clients go on for a while. No hook may leave before 5 s of quiet, and none after its
// budget.
func TestAPIGone(t *testing.T) {
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			ownNode(t)
			s := newScene(t)
			// Of each there is another that can take over.
			for _, name := range []string{"removal", "lull", "before"} {
				s.peer(workload{name: name})
			}
			removal := s.pod(workload{name: "removal", hook: lullHook})
			lull := s.pod(workload{name: "lull", hook: lullHook})
			for _, app := range []string{removal, lull} {
				s.expose(app, app)
			}
			own := s.service("before", "before")
			before := s.pod(workload{name: "before", hook: lullHook, change: func(spec *corev1.PodSpec) {
				seconds := int64(13)
				spec.ActiveDeadlineSeconds = &seconds
				spec.RestartPolicy = corev1.RestartPolicyNever
			}})
			s.answers(own)
			loads := map[string]*node.Load{lull: s.callers(lull)}
			s.delete(lull)
			s.waitStory(lull, "left")
			if err := s.node.Freeze("kube-controller-manager"); err != nil {
				t.Fatal(err)
			}
			thaw := sync.OnceValue(func() error { return s.node.Thaw("kube-controller-manager") })
			t.Cleanup(func() { _ = thaw() })
			s.delete(removal)
			s.waitStory(removal, "identity")
			s.waitDeleted(removal)
			over := o.start(s)
			for pod, event := range map[string]string{before: "identity", removal: "left", lull: "end"} {
				if s.told(pod, event) {
					t.Errorf("%s: the API server went too late, its story has %s already", pod, event)
				}
			}
			loads[removal] = s.callers(removal)
			time.Sleep(3 * time.Second)
			s.stop(loads[removal])
			s.stop(loads[lull])
			s.waitStory(before, "identity")
			loads[before] = s.callers(before)
			time.Sleep(3 * time.Second)
			s.stop(loads[before])
			for _, e := range []end{s.ended(before, time.Minute), s.end(removal), s.end(lull)} {
				s.checkOutage(e, s.stop(loads[e.pod]).Newest)
				if e.pod != lull {
					s.wants(e, "the EndpointSlices cannot be seen")
				}
			}
			over()
			if err := thaw(); err != nil {
				t.Error(err)
			}
		})
	}
}

// checkOutage: neither too early nor too late. The newest connection was begun then, and no later.
func (s *scene) checkOutage(e end, newest time.Time) {
	s.Helper()
	s.check(e, 0, 5*time.Second, 20500*time.Millisecond)
	s.checkServed(e, newest)
}

// callers send new connections straight to a pod.
func (s *scene) callers(pod string) *node.Load {
	s.Helper()
	return s.load("-target", net.JoinHostPort(s.podIP(pod), "8080"), "-rate", "20")
}

// told reports whether a hook's story has an event by now.
func (s *scene) told(pod, event string) bool {
	return end{story: s.lines(pod)}.has(event)
}

// waitStory waits for an event of a hook's story.
func (s *scene) waitStory(pod, event string) {
	s.Helper()
	s.until(40*time.Second, "event "+event+" in the story of pod "+pod, func() error {
		if !s.told(pod, event) {
			return errors.New("none")
		}
		return nil
	})
}

// waitDeleted waits until the scene's own watch has seen the deletion.
func (s *scene) waitDeleted(pod string) {
	s.Helper()
	s.until(10*time.Second, "the deletion of pod "+pod, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.deleted[pod].IsZero() {
			return errors.New("not seen")
		}
		return nil
	})
}

// TestAPIGoneInRollout: the API server goes away in the middle of a rolling update under load. No
// request is lost, as long as the budget outlasts the outage and what kube-proxy needs to notice its
// end: a grace period of 30 s was seen not to.
func TestAPIGoneInRollout(t *testing.T) {
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			ownNode(t)
			s := newScene(t)
			s.deploy(workload{replicas: 2, hook: lullHook, grace: 60})
			load := s.load("-target", s.expose("web", "app"), "-from", node.Clients, "-rate", "100", "-keepalive", "10")
			time.Sleep(time.Second)
			old := s.live("app")
			s.restart("app")
			s.until(time.Minute, "a deleted pod", func() error {
				s.mu.Lock()
				defer s.mu.Unlock()
				if len(s.deleted) == 0 {
					return errors.New("none")
				}
				return nil
			})
			over := o.start(s)
			time.Sleep(8 * time.Second)
			over()
			s.waitRollout("app")
			s.waitGone(90*time.Second, old...)
			r := s.stop(load)
			t.Logf("API server %s for 8 s in a rolling update: %s", o.name, r)
			if r.Failed > 0 {
				t.Errorf("%d requests failed, the first: %+v", r.Failed, r.Failures[0])
			}
			for _, pod := range old {
				// The hook that was blind meanwhile learns late that its pod has left rotation, and
				// only then may keep-alive clients be left to the app: the budget can end first.
				e, exit := s.end(pod), 0
				if e.exit() == 3 {
					exit = 3
				}
				s.check(e, exit, 5*time.Second, 50500*time.Millisecond)
			}
		})
	}
}
