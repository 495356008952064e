package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// fakeTaint keeps everybody else's pods off a fake node.
const fakeTaint = "lull.test/fake"

// fakeNode makes a Node that has no machine behind it, and keeps the node controller's belief in it:
// its pods are what the test says. s.fake is the newest.
func (s *scene) fakeNode() {
	s.Helper()
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "fake-"},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: fakeTaint, Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{
			Conditions:  []corev1.NodeCondition{alive()},
			Allocatable: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1000")},
		},
	}
	nodes := s.client.CoreV1().Nodes()
	made, err := nodes.Create(s.Context(), n, metav1.CreateOptions{})
	if err != nil {
		s.Fatal(err)
	}
	s.fake = made.Name
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				patch, _ := json.Marshal(map[string]any{"status": corev1.NodeStatus{Conditions: []corev1.NodeCondition{alive()}}})
				// An API server that is away for a while is part of some scenarios.
				_, _ = nodes.Patch(ctx, made.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
			}
		}
	}()
	s.Cleanup(func() {
		end()
		<-ended
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := nodes.Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
			s.Error(err)
		}
	})
}

// alive is what a kubelet says of its node.
func alive() corev1.NodeCondition {
	now := metav1.Now()
	return corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now}
}

// tolerateFakeNode lets a pod onto a fake node.
func tolerateFakeNode(spec *corev1.PodSpec) {
	spec.Tolerations = append(spec.Tolerations, corev1.Toleration{Key: fakeTaint, Operator: corev1.TolerationOpExists})
}

// waitPodOn waits for a workload's pod on a node, which need not be ready, and returns its name.
func (s *scene) waitPodOn(app, node string) (pod string) {
	s.Helper()
	s.until(slow, "a pod of "+app+" on "+node, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for name, p := range s.pods {
			if p.Labels["app"] == app && p.Spec.NodeName == node && s.gone[name].IsZero() {
				pod = name
				return nil
			}
		}
		return errors.New("none")
	})
	return pod
}

// pretend says of a fake node's pod what its kubelet would: that it runs at an address, and whether
// it is ready.
func (s *scene) pretend(pod, address string, ready corev1.ConditionStatus) {
	s.Helper()
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}}, StartTime: &now,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: now}}}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.client.CoreV1().Pods(s.ns).Patch(s.Context(), pod, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		s.Fatal(err)
	}
}

// peer makes a pod of the workload on a fake node that is ready all the while, so that somebody takes
// over at once. Nobody listens at its address, which is one of the node's.
func (s *scene) peer(w workload) {
	s.Helper()
	s.elsewhere(w, "peer", "10.11.0.254", corev1.ConditionTrue)
}

// elsewhere makes a pod of the workload on a fake node.
func (s *scene) elsewhere(w workload, suffix, address string, ready corev1.ConditionStatus) (name string) {
	s.Helper()
	if s.fake == "" {
		s.fakeNode()
	}
	spec := w.spec()
	spec.NodeName = s.fake
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: w.id() + "-" + suffix, Labels: w.labels()}, Spec: spec}
	if _, err := s.client.CoreV1().Pods(s.ns).Create(s.Context(), p, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.pretend(p.Name, address, ready)
	return p.Name
}

// standby makes a pod of the workload on a fake node that has not been ready for a month: one that
// waits for another's end to become the leader.
func (s *scene) standby(w workload) {
	s.Helper()
	name := s.elsewhere(w, "standby", "10.244.99.2", corev1.ConditionFalse)
	if err := s.node.Age(s.Context(), s.ns, name, 30*24*time.Hour); err != nil {
		s.Fatal(err)
	}
	s.until(slow, "an old pod "+name, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if seen := s.pods[name]; seen == nil || time.Since(seen.CreationTimestamp.Time) < time.Hour {
			return errors.New("it is young")
		}
		return nil
	})
}
