package cluster

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"lull/testdata/cluster/node"
)

// TestOneReplica deletes the only pod of a Deployment under load; its replacement needs 4 s to
// become ready.
func TestOneReplica(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"auto", "never"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.deploy(workload{args: []string{"-start=4s"}, hook: lull("--handover=" + mode)})
			load := s.load("-target", s.expose("web", "app"), "-from", node.Clients, "-rate", "100", "-keepalive", "10")
			time.Sleep(time.Second)
			pod := s.live("app")[0]
			s.delete(pod)
			s.waitGone(time.Minute, pod)
			s.waitRollout("app")
			time.Sleep(time.Second) // requests that a wrong rule would still catch
			r := s.stop(load)
			e := s.end(pod)
			t.Logf("--handover=%s: %s", mode, r)
			s.check(e, 0, 5*time.Second, 20500*time.Millisecond)
			if mode == "auto" && r.Failed > 0 {
				t.Errorf("%d requests failed, the first: %+v", r.Failed, r.Failures[0])
			}
			if waited := e.has("handover") && e.has("handed-over"); waited != (mode == "auto") {
				t.Errorf("waited for the replacement: %t", waited)
			}
		})
	}
}

// TestNoReplacement: nobody comes after these pods, and so nobody is waited for.
func TestNoReplacement(t *testing.T) {
	t.Parallel()
	t.Run("scaled to zero", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.deploy(workload{replicas: 2, hook: lullHook})
		s.expose("web", "app")
		pods := s.live("app")
		if _, err := s.client.AppsV1().Deployments(s.ns).Patch(s.Context(), "app", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods {
			s.checkUncalled(s.end(pod), 8*time.Second)
		}
	})
	t.Run("namespace deleted", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.deploy(workload{hook: lullHook})
		s.expose("web", "app")
		pod := s.live("app")[0]
		if err := s.client.CoreV1().Namespaces().Delete(t.Context(), s.ns, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		// lull's permissions go together with the pod. Without them it goes by the sockets, which
		// takes twice the window.
		s.check(s.end(pod), 0, 5*time.Second, 13*time.Second)
	})
}
