package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"lull/testdata/cluster/node"
)

// locked is a pod as hard to live in as a careful platform team makes it.
func locked(spec *corev1.PodSpec) {
	yes, no, uid := true, false, int64(65532)
	spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &uid, RunAsGroup: &uid,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	c := &spec.Containers[0]
	c.SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("24Mi")}
}

// TestLockedDown: lull under restrictions that take its senses, one by one, under load that goes
// away with the rotation.
func TestLockedDown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		change      func(*corev1.PodSpec)
		least, most time.Duration
		wants       []string
		missing     bool // lull says that it can't see something
	}{
		{"all of it", func(*corev1.PodSpec) {}, window, 2*window - time.Second, nil, false},
		{"no netlink", func(spec *corev1.PodSpec) {
			profile := node.NoNetlinkProfile
			spec.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &profile}
		}, window, 3*window - time.Second, []string{"through /proc"}, true}, // a probe that comes during a look may count
		{"no token", func(spec *corev1.PodSpec) { spec.AutomountServiceAccountToken = new(bool) }, 2 * window, 2*window + 4*time.Second, nil, true},
		{"no permission", func(spec *corev1.PodSpec) { spec.ServiceAccountName = "plain" }, 2 * window, 2*window + 4*time.Second, []string{"no permission"}, true},
		{"no permission, no netlink", func(spec *corev1.PodSpec) {
			spec.ServiceAccountName = "plain"
			profile := node.NoNetlinkProfile
			spec.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &profile}
		}, 2 * window, 2*window + 10*time.Second, []string{"through /proc", "no permission"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.account("plain")
			s.deploy(workload{replicas: 2, hook: lullHook, change: func(spec *corev1.PodSpec) {
				locked(spec)
				c.change(spec)
			}})
			load := s.load("-target", s.expose("web", "app"), "-from", node.Clients, "-rate", "50")
			time.Sleep(time.Second)
			pod := s.live("app")[0]
			s.delete(pod)
			e := s.end(pod)
			s.waitGone(time.Minute, pod)
			r := s.stop(load)
			t.Log(r)
			s.check(e, 0, c.least, c.most)
			s.wants(e, c.wants...)
			if r.Failed > 0 {
				t.Errorf("%d requests failed, the first: %+v", r.Failed, r.Failures[0])
			}
			missing := false
			for _, l := range e.story {
				missing = missing || l.Event == "missing"
			}
			if missing != c.missing {
				t.Errorf("said that something can't be seen: %t, want %t", missing, c.missing)
			}
		})
	}
}
