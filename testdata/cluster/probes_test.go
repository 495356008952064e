package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestProbes: the kubelet asks for readiness every second, and nobody else asks for anything. lull
// exits after the window.
func TestProbes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*corev1.PodSpec){
		"http": nil,
		"tcp": func(spec *corev1.PodSpec) {
			spec.Containers[0].ReadinessProbe.ProbeHandler = corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}}
		},
		"hostNetwork": func(spec *corev1.PodSpec) {
			spec.HostNetwork = true
			spec.Containers[0].Args = []string{"-listen=:18080"}
			spec.Containers[0].Ports[0].ContainerPort = 18080
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			w := workload{hook: lullHook, change: change}
			s.peer(w)
			pod := s.pod(w)
			s.expose("web", "app")
			time.Sleep(3 * time.Second) // a few probes
			s.delete(pod)
			e := s.end(pod)
			s.checkUncalled(e, 7*time.Second)
			s.wants(e, "not counted: .* readiness probes")
		})
	}
}
