package cluster

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestRestart: the container is restarted because its liveness probe fails. The pod stays in
// rotation whatever the hook does.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	web := s.service("web", "app")
	pod := s.pod(workload{hook: lullHook, args: []string{"-liveness-fails=10s"}, change: func(spec *corev1.PodSpec) {
		spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/live", Port: intstr.FromString("http")}}}
	}})
	s.answers(web)
	e := s.ended(pod, time.Minute)
	s.checkUndeleted(e)
	s.wants(e, "restarts its container")
}

// checkUndeleted: the pod is not being deleted and stays in rotation whatever the hook does, which
// therefore ends within a second.
func (s *scene) checkUndeleted(e end) {
	s.Helper()
	s.Logf("%s: exit %d:%s", e.pod, e.exit(), e.text())
	if e.last.Reason != "restart" || e.last.HeldS > 1+e.stood(e.story[0].At, e.last.At).Seconds() {
		s.Errorf("%s: lull ended with reason %q after %.2f s, want restart within 1 s", e.pod, e.last.Reason, e.last.HeldS)
	}
	if took := e.sigterm.At.Sub(e.last.At); took > passing+e.stood(e.last.At, e.sigterm.At) {
		s.Errorf("%s: SIGTERM came %s after lull's last word", e.pod, took)
	}
}

// TestHungApp: the app has deadlocked. It accepts nothing, so readiness fails and takes the pod out
// of rotation, and then liveness has the container restarted. The kubelet's readiness probes go on
// and fill the accept queue, which never drains: waiting for that only delays the cure. The
// restart's grace period is the probe's own where it has one.
func TestHungApp(t *testing.T) {
	t.Parallel()
	for name, grace := range map[string]*int64{"the pod's grace period": nil, "the probe's own": new(int64(8))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			web := s.service("web", "app")
			pod := s.pod(workload{hook: lullHook, args: []string{"-hang=10s", "-drain=1s"}, change: func(spec *corev1.PodSpec) {
				c := &spec.Containers[0]
				ask := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}}
				c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: ask}
				c.LivenessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 5, TerminationGracePeriodSeconds: grace, ProbeHandler: ask}
			}})
			s.answers(web)
			e := s.ended(pod, time.Minute)
			s.wants(e, "out of rotation .* though not being deleted")
			s.checkWindow(e)
		})
	}
}

// TestActiveDeadline: the pod's time is up. Nothing is deleted, but the pod is out of rotation, and
// so the lull is waited for.
func TestActiveDeadline(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	web := s.service("web", "app")
	pod := s.pod(workload{hook: lullHook, change: func(spec *corev1.PodSpec) {
		seconds := int64(15)
		spec.ActiveDeadlineSeconds = &seconds
		spec.RestartPolicy = corev1.RestartPolicyNever
	}})
	s.answers(web)
	e := s.ended(pod, time.Minute)
	t.Logf("exit %d:%s", e.exit(), e.text())
	if e.last.Reason != "quiet" || e.last.Stage != "lull" {
		t.Errorf("too soon: lull ended with reason %q in stage %q, want quiet in lull", e.last.Reason, e.last.Stage)
	}
	if e.last.HeldS < 5 {
		t.Errorf("too soon: lull held SIGTERM for %.2f s, want the window of 5 s", e.last.HeldS)
	}
	if e.last.HeldS > 7+e.stood(e.story[0].At, e.last.At).Seconds() {
		t.Errorf("too late: lull held SIGTERM for %.2f s, want the window of 5 s", e.last.HeldS)
	}
	s.wants(e, "out of rotation .* though not being deleted")
}

// ended reads how the first hook of a pod ended that is not deleted.
func (s *scene) ended(pod string, limit time.Duration) end {
	s.Helper()
	var e end
	s.until(limit, "the end of the story of pod "+pod, func() error {
		e = end{pod: pod}
		for _, l := range s.lines(pod) {
			switch {
			case l.Logger == "lull":
				e.story = append(e.story, l)
				if l.Event == "end" && e.last.At.IsZero() {
					e.last = l
				}
			case l.Msg == "sigterm" && e.sigterm.At.IsZero():
				e.sigterm = l
			case l.Msg == "done" && e.done.At.IsZero():
				e.done = l
			case l.Msg == "stalled":
				e.note(l)
			}
		}
		// The app's end ends a hook that is still there, too: such a story has no end.
		if e.sigterm.At.IsZero() || e.last.At.IsZero() && e.done.At.IsZero() {
			return errors.New("not yet")
		}
		e.deleted = e.story[0].At
		return nil
	})
	return e
}
