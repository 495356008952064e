package cluster

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/testdata/cluster/node"
)

// statefulSet makes a StatefulSet of one and returns its pod, once that is ready. It makes no other
// before this one is gone.
func (s *scene) statefulSet(w workload) (pod string) {
	s.Helper()
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: w.id()}, Spec: appsv1.StatefulSetSpec{
		ServiceName: w.id(), Selector: &metav1.LabelSelector{MatchLabels: w.labels()},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.labels()}, Spec: w.spec()},
	}}
	if _, err := s.client.AppsV1().StatefulSets(s.ns).Create(s.Context(), set, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.waitPod(w.id() + "-0")
	return w.id() + "-0"
}

// daemonSet makes a DaemonSet and returns its pod on the node, once that is ready.
func (s *scene) daemonSet(w workload) (pod string) {
	s.Helper()
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: w.id()}, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: w.labels()},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.labels()}, Spec: w.spec()},
	}}
	if _, err := s.client.AppsV1().DaemonSets(s.ns).Create(s.Context(), set, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	pod = s.waitPodOn(w.id(), node.Name)
	s.waitPod(pod)
	return pod
}

// TestNoSuccessor: no other pod is ready here before this one is gone, so kube-proxy goes on
// sending to it, and no wait can end that. It leaves one window after its removal, and what comes
// meanwhile is served.
func TestNoSuccessor(t *testing.T) {
	t.Parallel()
	t.Run("StatefulSet of one", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		pod := s.statefulSet(workload{hook: lullHook})
		s.noSuccessor(pod, s.expose("web", "app"))
	})
	// It becomes ready only when this one is gone.
	t.Run("StatefulSet of one and a standby", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		w := workload{hook: lullHook}
		s.standby(w)
		pod := s.statefulSet(w)
		s.noSuccessor(pod, s.expose("web", "app"))
	})
	t.Run("DaemonSet", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.refuseServices()
		pod := s.daemonSet(workload{hook: lullHook})
		s.noSuccessor(pod, s.expose("web", "app"))
	})
	// Another node's pod is ready, and with this policy it is no substitute.
	t.Run("DaemonSet, internalTrafficPolicy Local", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		pod, address := s.localService()
		s.noSuccessor(pod, address)
	})
}

// noSuccessor deletes a pod under load.
func (s *scene) noSuccessor(pod, address string) {
	s.Helper()
	load := s.load("-target", address, "-from", node.Clients, "-rate", "50", "-keepalive", "4")
	time.Sleep(time.Second)
	s.delete(pod)
	e := s.end(pod)
	r := s.stop(load)
	s.check(e, 0, window, window+prompt)
	lost := r.FailedBetween(r.Started, e.last.At)
	s.Logf("%s; of those from before lull's last word %d failed", r, lost)
	if lost > 0 {
		s.Errorf("%d requests failed that began before lull's last word, the first: %+v", lost, r.Failures[0])
	}
}

// localService makes a DaemonSet on two nodes behind a Service with internalTrafficPolicy Local, and
// returns the pod on the real one and the Service's address.
func (s *scene) localService() (pod, address string) {
	s.Helper()
	s.fakeNode()
	pod = s.daemonSet(workload{hook: lullHook, grace: 20, change: tolerateFakeNode})
	address = s.expose("web", "app", func(spec *corev1.ServiceSpec) {
		local := corev1.ServiceInternalTrafficPolicyLocal
		spec.InternalTrafficPolicy = &local
	})
	s.pretend(s.waitPodOn("app", s.fake), "10.244.99.1", corev1.ConditionTrue)
	s.until(slow, "two endpoints", func() error {
		if n := len(s.endpoints()); n != 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	return pod, address
}

// TestLocalUnknown: the same without the right to get Services. What the policy is cannot be known,
// and another node's pod is ready: traffic holds the pod until the budget ends, and the last line
// asks about the policy.
func TestLocalUnknown(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.refuseServices()
	pod, address := s.localService()
	load := s.load("-target", address, "-from", node.Clients, "-rate", "50")
	time.Sleep(time.Second)
	s.delete(pod)
	e := s.end(pod)
	s.stop(load)
	s.check(e, 3, 10*time.Second, 10*time.Second+prompt)
	if want := regexp.MustCompile(`must stay on this node.* get on services`); !want.MatchString(e.last.Msg) {
		t.Errorf("the last line does not match %q: %s", want, e.last.Msg)
	}
}

// TestLeader: readiness by leadership, in a Deployment. The replacement that its ReplicaSet makes is
// young, but becomes ready no sooner than the old standby beside it: when this pod has ended. Nobody
// calls, and the pod is out after one window.
func TestLeader(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	w := workload{hook: lullHook, args: []string{"-lock=/lock/leader"}, change: func(spec *corev1.PodSpec) {
		create := corev1.HostPathDirectoryOrCreate
		spec.Volumes = []corev1.Volume{{Name: "lock", VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: "/run/" + s.ns, Type: &create}}}}
		spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "lock", MountPath: "/lock"}}
	}}
	s.standby(w)
	s.deploy(w)
	s.expose("web", "app")
	pod := s.waitPodOn("app", node.Name)
	s.delete(pod)
	s.checkWindow(s.end(pod))
	s.waitGone(time.Minute, pod)
	s.waitRollout("app") // the replacement leads
}
