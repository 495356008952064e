package cluster

import (
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"lull/testdata/cluster/node"
)

// execProbe has the pod's readiness asked for by a command in the container, which connects to the
// app: in the image's words what grpc_health_probe, curl localhost and pg_isready do.
func execProbe(address string, period int32) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		c := &spec.Containers[0]
		c.Env = append(c.Env, corev1.EnvVar{Name: "OWN_ADDRESS", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}})
		c.ReadinessProbe = &corev1.Probe{PeriodSeconds: period, TimeoutSeconds: 5, ProbeHandler: corev1.ProbeHandler{
			Exec: &corev1.ExecAction{Command: []string{"/app", "probe", address}}}}
	}
}

// redirectProbe has the kubelet ask for /, which redirects to /login: it follows, on a connection of
// its own each (pkg/probe/http/http.go), so each probe is two.
func redirectProbe(period int32) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		c := &spec.Containers[0]
		c.Args = append(c.Args, "-redirect")
		c.ReadinessProbe = &corev1.Probe{PeriodSeconds: period, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromString("http")}}}
	}
}

// clientProbes are probes whose connections look like a client's.
var clientProbes = map[string]func(*corev1.PodSpec){
	"exec, loopback":        execProbe("127.0.0.1:8080", 2),
	"exec, own address":     execProbe("${OWN_ADDRESS}:8080", 2),
	"http, with a redirect": redirectProbe(2),
}

// TestClientProbes: probes that come over loopback, or as two connections at a time, and nobody else.
// The pod is out after one window.
func TestClientProbes(t *testing.T) {
	t.Parallel()
	for name, change := range clientProbes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			w := workload{hook: lullHook, change: change}
			s.peer(w)
			pod := s.pod(w)
			s.expose("web", "app")
			s.delete(pod)
			s.checkWindow(s.end(pod))
		})
	}
}

// TestClientBesideProbes: the same probes, and one client from the probes' own address: a sidecar
// over loopback, a program of the node beside the kubelet. It calls more slowly than once a period,
// and counts.
func TestClientBesideProbes(t *testing.T) {
	t.Parallel()
	const rate = "0.7" // a second: every other probe has one between itself and the next
	t.Run("exec, loopback", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		w := workload{hook: lullHook, grace: 40, change: func(spec *corev1.PodSpec) {
			execProbe("127.0.0.1:8080", 2)(spec)
			spec.Containers = append(spec.Containers, corev1.Container{
				Name: "sidecar", Image: node.LoadImage, ImagePullPolicy: corev1.PullNever,
				Args:      []string{"-target", "127.0.0.1:8080", "-rate", rate},
				Lifecycle: sleep(12).lifecycle(), // it goes on calling for so long
			})
		}}
		s.peer(w)
		pod := s.pod(w)
		s.expose("web", "app")
		s.delete(pod)
		e := s.end(pod)
		r := s.report(pod, "sidecar")
		t.Log(r)
		s.checkBesideProbes(e, r.Newest, 2*time.Second)
	})
	t.Run("http, with a redirect", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		w := workload{hook: lullHook, grace: 40, change: redirectProbe(2)}
		s.peer(w)
		pod := s.pod(w)
		s.expose("web", "app")
		load := s.load("-target", net.JoinHostPort(s.podIP(pod), "8080"), "-rate", rate)
		at := s.delete(pod)
		time.Sleep(time.Until(at.Add(12 * time.Second)))
		r := s.stop(load)
		t.Log(r)
		s.checkBesideProbes(s.end(pod), r.Newest, 4*time.Second)
	})
}

// checkBesideProbes: a client held the pod for as long as it called, some 12 s, and no probe after
// it. Where a probe makes two connections, the client's among them hide that: it is learnt anew
// from two probes after the client. Where a command's time was taken from one of the client's, the
// next one counts.
func (s *scene) checkBesideProbes(e end, newest time.Time, learnt time.Duration) {
	s.Helper()
	s.checkServed(e, newest)
	s.check(e, 0, 2*window, 12*time.Second+window+prompt+learnt)
}
