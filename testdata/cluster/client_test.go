package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/testdata/cluster/node"
)

// TestClientInPod: a rolling update with the clients in a pod, so that they come from an address of
// their own and not from the node's, as the kubelet's probes do.
func TestClientInPod(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.deploy(workload{replicas: 2, hook: lullHook})
	client := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "client"}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{Name: "load", Image: node.LoadImage, ImagePullPolicy: corev1.PullNever,
			Args: []string{"-target", s.expose("web", "app"), "-rate", "50", "-keepalive", "4"}}},
	}}
	if _, err := s.client.CoreV1().Pods(s.ns).Create(t.Context(), client, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.waitPod("client")
	time.Sleep(time.Second)
	run := s.rollout("app")
	s.delete("client") // it ends on SIGTERM, and tells what it found
	r := s.report("client", "load")
	t.Logf("held %v, %s", run.held, r)
	if r.Failed > 0 {
		t.Errorf("%d requests failed, the first: %+v", r.Failed, r.Failures[0])
	}
	if r.Total() < 100 {
		t.Errorf("%d requests in all: the client was hardly there", r.Total())
	}
	for _, pod := range s.deletedPods() {
		if pod != "client" {
			s.check(s.end(pod), 0, 5*time.Second, 20500*time.Millisecond)
		}
	}
}
