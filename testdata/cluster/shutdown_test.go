package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"lull/testdata/cluster/node"
)

// TestNodeShutdown: the node is about to be shut down, and the kubelet ends its pods without deleting
// them. Nobody takes them out of rotation before they have ended, whatever the hook does, so it does
// not wait; and no probe is there that could have failed.
func TestNodeShutdown(t *testing.T) {
	ownNode(t) // this one takes no more pods
	s := newScene(t)
	s.deploy(workload{replicas: 2, hook: lullHook, change: func(spec *corev1.PodSpec) { spec.Containers[0].LivenessProbe = nil }})
	load := s.load("-target", s.expose("web", "app"), "-from", node.Clients, "-rate", "50")
	time.Sleep(time.Second)
	pods := s.live("app")
	at := time.Now()
	if err := s.node.AnnounceShutdown(); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		e := s.ended(pod, time.Minute)
		s.checkUndeleted(e)
		t.Logf("%s: lull began %.2f s after the announcement", pod, e.began().Sub(at).Seconds())
		if e.told("restart") {
			t.Errorf("%s: the story tells of a restart, and the pod has no probe that could ask for one", pod)
		}
	}
	t.Log(s.stop(load))
}
