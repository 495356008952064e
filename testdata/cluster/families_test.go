package cluster

import (
	"net"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestFamilies: rolling updates with IPv6 clients, and with MPTCP on either side.
func TestFamilies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		family int // of the Service's addresses: 0 IPv4, 1 IPv6
		app    string
		load   string
	}{
		{"IPv6", 1, "-mptcp=true", "-mptcp=false"},
		{"IPv6, no MPTCP", 1, "-mptcp=false", "-mptcp=false"},
		{"IPv6, MPTCP clients", 1, "-mptcp=true", "-mptcp=true"},
		{"IPv4, MPTCP clients", 0, "-mptcp=true", "-mptcp=true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.deploy(workload{replicas: 2, hook: lullHook, args: []string{c.app}})
			s.expose("web", "app")
			service, err := s.client.CoreV1().Services(s.ns).Get(t.Context(), "web", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			load := s.load("-target", net.JoinHostPort(service.Spec.ClusterIPs[c.family], "80"), "-rate", "50", "-keepalive", "4", c.load)
			time.Sleep(time.Second)
			run := s.rollout("app")
			r := s.stop(load)
			t.Logf("%s: held %v, %s", c.name, run.held, r)
			if r.Failed > 0 {
				t.Errorf("%d requests failed, the first: %+v", r.Failed, r.Failures[0])
			}
			for _, pod := range s.deletedPods() {
				s.check(s.end(pod), 0, 5*time.Second, 20500*time.Millisecond)
			}
		})
	}
}
