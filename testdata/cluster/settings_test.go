package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"lull/testdata/cluster/figures"
	"lull/testdata/cluster/node"
)

// setting is an ordinary pod that nobody calls.
type setting struct {
	name    string
	owner   func(*scene, workload) (pod string) // nil: a Deployment, of which another pod is ready elsewhere
	grace   int64                               // 0 for 30
	change  func(*corev1.PodSpec)
	service func(*corev1.ServiceSpec) // nil: an ordinary one
	alone   bool                      // in no Service
	windows int                       // that lull has to wait; 0 for 1
	handed  bool                      // it waits for its replacement first
}

// settled is what became of it.
type settled struct {
	Setting string
	HeldS   float64
	Exit    int
}

// ask has the pod's readiness asked for every so many seconds.
func ask(period int32, probe corev1.ProbeHandler) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: period, ProbeHandler: probe}
	}
}

func httpGet(host, path string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: host, Path: path, Port: intstr.FromString("http")}}
}

// grpcProbe has the container's port speak gRPC instead of HTTP.
func grpcProbe(period int32) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		c := &spec.Containers[0]
		c.Args = append(c.Args, "-listen=127.0.0.1:8080", "-grpc=:8081")
		c.Ports[0].ContainerPort = 8081
		ask(period, corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 8081}})(spec)
	}
}

// allProbes has the pod started, kept alive and made ready by the same question.
func allProbes(spec *corev1.PodSpec) {
	c := &spec.Containers[0]
	c.StartupProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 60, ProbeHandler: httpGet("", "/ready")}
	c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 3, ProbeHandler: httpGet("", "/ready")}
	c.LivenessProbe = &corev1.Probe{PeriodSeconds: 3, ProbeHandler: httpGet("", "/live")}
}

// sidecar adds a native sidecar, with a readiness probe of its own on the app's port.
func sidecar(spec *corev1.PodSpec) {
	always := corev1.ContainerRestartPolicyAlways
	c := spec.Containers[0]
	spec.InitContainers = append(spec.InitContainers, corev1.Container{
		Name: "sidecar", Image: c.Image, ImagePullPolicy: c.ImagePullPolicy, Args: []string{"-listen=:9090"}, RestartPolicy: &always,
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 2, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(8080)}}},
	})
}

// second adds a container whose readiness is asked for on the app's port, too.
func second(spec *corev1.PodSpec) {
	c := spec.Containers[0]
	spec.Containers = append(spec.Containers, corev1.Container{
		Name: "second", Image: c.Image, ImagePullPolicy: c.ImagePullPolicy, Args: []string{"-listen=:9090"},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 3, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(8080)}}},
	})
}

func bare(s *scene, w workload) string { return s.pod(w) }

// oneReplica makes a Deployment of one, and twoReplicas one that another pod belongs to.
func oneReplica(s *scene, w workload) string {
	s.deploy(w)
	return s.waitPodOn(w.id(), node.Name)
}

func twoReplicas(s *scene, w workload) string {
	s.peer(w)
	return oneReplica(s, w)
}

var settings = []setting{
	{name: "HTTP probe every 1 s", change: ask(1, httpGet("", "/ready"))},
	{name: "HTTP probe every 10 s", change: ask(10, httpGet("", "/ready"))},
	{name: "HTTP probe every 3 s, answered by a redirect", change: redirectProbe(3)},
	{name: "TCP probe every 2 s", change: ask(2, corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}})},
	{name: "gRPC probe every 2 s", change: grpcProbe(2)},
	{name: "exec probe over loopback every 2 s", change: execProbe("127.0.0.1:8080", 2)},
	{name: "exec probe over the pod's address every 5 s", change: execProbe("${OWN_ADDRESS}:8080", 5)},
	{name: "startup, liveness and readiness probes every 3 s", change: allProbes},
	{name: "no probe", change: func(spec *corev1.PodSpec) { spec.Containers[0].ReadinessProbe = nil }},
	{name: "a native sidecar, probed on the same port", change: sidecar},
	{name: "a second container, probed on the same port", change: second},
	{name: "grace period 10 s", grace: 10},
	{name: "grace period 60 s", grace: 60},
	{name: "one replica: until the replacement is ready, and one window", owner: oneReplica, handed: true},
	{name: "StatefulSet of one", owner: (*scene).statefulSet},
	{name: "StatefulSet of one, and a standby that has long been unready", owner: func(s *scene, w workload) string {
		s.standby(w)
		return s.statefulSet(w)
	}},
	{name: "DaemonSet", owner: (*scene).daemonSet},
	{name: "a pod without an owner", owner: bare},
	{name: "headless Service", service: func(spec *corev1.ServiceSpec) { spec.ClusterIP = corev1.ClusterIPNone }},
	{name: "publishNotReadyAddresses", service: func(spec *corev1.ServiceSpec) { spec.PublishNotReadyAddresses = true }},
	{name: "in no Service", alone: true},
	{name: "hostNetwork", change: onHost(18091)},
	{name: "hostNetwork, in no Service, with POD_NAME", alone: true, change: func(spec *corev1.PodSpec) {
		onHost(18092)(spec)
		named(spec)
	}},
	{name: "hostNetwork, probed at 127.0.0.1 every 2 s", change: func(spec *corev1.PodSpec) {
		onHost(18093)(spec)
		ask(2, httpGet("127.0.0.1", "/ready"))(spec)
	}},
	{name: "uid 65532, no capabilities, read-only root, RuntimeDefault", change: locked},
	{name: "no permission to read the API", change: func(spec *corev1.PodSpec) { spec.ServiceAccountName = "plain" }, windows: 2},
}

// TestSettings: pods as they are set up in an ordinary cluster, and nobody calls them. Each is out
// after one window, with code 0.
func TestSettings(t *testing.T) {
	s := newScene(t)
	s.account("plain")
	s.fakeNode()
	s.nodeTenants()
	pods := make([]string, len(settings))
	var all sync.WaitGroup
	for i, x := range settings {
		all.Go(func() { pods[i] = s.settle(x, fmt.Sprintf("app-%02d", i)) })
	}
	all.Wait()
	if t.Failed() {
		return
	}
	time.Sleep(3 * time.Second) // what was late to start is through
	ends := s.deleteAll(pods)
	var rows []settled
	for i, x := range settings {
		e := ends[i]
		least := time.Duration(max(1, x.windows)) * window
		if x.handed {
			least += e.handedOver()
		}
		t.Logf("%s:", x.name)
		s.checkPrompt(e, least)
		rows = append(rows, settled{x.name, e.last.HeldS, e.exit()})
	}
	saveFigures(t, "settings", rows, settingsTable(rows), "")
}

// deleteAll deletes the pods, a few at a time, so that figures are lull's and not those of a busy
// processor, and returns how each ended.
func (s *scene) deleteAll(pods []string) []end {
	ends := make([]end, len(pods))
	slots := make(chan struct{}, 2)
	var all sync.WaitGroup
	for i, pod := range pods {
		slots <- struct{}{}
		s.delete(pod)
		all.Go(func() {
			ends[i] = s.end(pod)
			<-slots
		})
	}
	all.Wait()
	return ends
}

// settle makes a setting's pod and Service, and returns the pod's name once it is ready.
func (s *scene) settle(x setting, name string) (pod string) {
	w := workload{name: name, hook: lullHook, grace: x.grace, change: x.change}
	if x.owner == nil {
		x.owner = twoReplicas
	}
	pod = x.owner(s, w)
	if x.alone {
		return pod
	}
	if x.service == nil {
		x.service = func(*corev1.ServiceSpec) {}
	}
	s.expose(name, name, x.service)
	return pod
}

// handedOver is when nobody had to be waited for any more, since lull began.
func (e end) handedOver() time.Duration {
	for _, l := range e.story {
		if l.Event == "handed-over" {
			return l.At.Sub(e.began())
		}
	}
	return 0
}

func settingsTable(all []settled) string {
	var rows [][]string
	for _, x := range all {
		rows = append(rows, []string{x.Setting, fmt.Sprintf("%.1f s", x.HeldS), fmt.Sprint(x.Exit)})
	}
	return figures.Table([]string{"pod, called by nobody", "held", "exit code"}, rows)
}
