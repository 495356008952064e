package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestServices: pods that are in rotation in unusual ways. In all of them lull takes the window, no
// more.
func TestServices(t *testing.T) {
	t.Parallel()
	headless := func(spec *corev1.ServiceSpec) { spec.ClusterIP = corev1.ClusterIPNone }
	notReady := func(spec *corev1.ServiceSpec) { spec.PublishNotReadyAddresses = true }
	for _, c := range []struct {
		name     string
		services map[string]func(*corev1.ServiceSpec)
		wants    []string
	}{
		{"publishNotReadyAddresses", map[string]func(*corev1.ServiceSpec){"all": notReady}, []string{`Service all.*not waiting for it`}},
		{"two Services, one of them publishNotReadyAddresses", map[string]func(*corev1.ServiceSpec){"web": nil, "all": notReady},
			[]string{`Service all.*not waiting for it`, `out of rotation after .*web`}},
		{"two Services", map[string]func(*corev1.ServiceSpec){"web": nil, "api": nil}, []string{`out of rotation after .*api.*web`}},
		{"headless", map[string]func(*corev1.ServiceSpec){"peers": headless}, []string{`out of rotation after .*peers`}},
		{"none", nil, []string{`in no Service`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			w := workload{hook: lullHook}
			s.peer(w)
			pod := s.pod(w)
			for name, change := range c.services {
				if change == nil {
					change = func(*corev1.ServiceSpec) {}
				}
				s.expose(name, "app", change)
			}
			time.Sleep(time.Second) // headless: the slice comes after the Service
			s.delete(pod)
			e := s.end(pod)
			s.checkUncalled(e, 7*time.Second)
			s.wants(e, c.wants...)
		})
	}
}
