package cluster

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/testdata/cluster/node"
)

// mountingNode has the test go on with a node whose containerd mounts images as volumes. Debian's
// cannot.
func mountingNode(t *testing.T) {
	t.Helper()
	if err := stopShared(); err != nil {
		t.Fatal(err)
	}
	ownNode(t)
	sharedNode(t, node.Options{ImageVolumes: true})
}

// runtime is the node's container runtime and its version.
func (s *scene) runtime() string {
	s.Helper()
	n, err := s.client.CoreV1().Nodes().Get(s.Context(), node.Name, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return n.Status.NodeInfo.ContainerRuntimeVersion
}

// mountsImage reports whether a pod has lull by an image volume, and nothing of the init container's.
func mountsImage(p *corev1.Pod) bool {
	return len(p.Spec.InitContainers) == 0 && hookWords(p.Spec.Containers[0]) == hookPath &&
		slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "lull" && v.Image != nil })
}

// checkMounted: lull's image is mounted in the pods of a Deployment. The app's own image has no
// program where the hook's is.
func (s *scene) checkMounted(app string) {
	s.Helper()
	pods := s.live(app)
	if len(pods) == 0 {
		s.Error("no pods")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range pods {
		if p := s.pods[name]; !mountsImage(p) {
			s.Errorf("%s: %+v", name, p.Spec)
		}
	}
}

// policyMounts: the policy of the examples, told to, has lull's image mounted in a pod that knows
// nothing of it, and the hook runs.
func policyMounts(t *testing.T) {
	s := newScene(t)
	s.forbid("default")
	s.rights()
	s.policy(map[string]string{"from": "image-volume"})
	s.becomes("an image volume", mountsImage)
	pod := s.pod(workload{})
	s.checkMounted("app")
	s.expose("web", "app")
	s.delete(pod)
	s.checkWindow(s.end(pod))
}
