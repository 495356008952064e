package kube

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestProbes(t *testing.T) {
	http := func(port intstr.IntOrString, host string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: port, Host: host}}
	}
	container := func(h corev1.ProbeHandler, period int32) corev1.Container {
		return corev1.Container{
			Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: h, PeriodSeconds: period},
		}
	}
	sidecar := container(corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(15021)}}, 2)
	sidecar.RestartPolicy = at(corev1.ContainerRestartPolicyAlways)
	setup := container(corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(1)}}, 2)
	live := corev1.Container{LivenessProbe: &corev1.Probe{ProbeHandler: http(intstr.FromInt32(2), "")}}
	pod := &corev1.Pod{
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{sidecar, setup},
			Containers: []corev1.Container{
				container(http(intstr.FromString("http"), ""), 5),
				container(http(intstr.FromString("9090"), ""), 0),
				container(corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 50051}}, 1),
				container(corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}, 1),
				container(http(intstr.FromInt32(8081), "10.0.0.7"), 3),
				container(http(intstr.FromInt32(8082), "127.0.0.1"), 3), // the node's own loopback
				container(http(intstr.FromInt32(8083), "example.com"), 3),
				container(http(intstr.FromString("nosuch"), ""), 3),
				container(http(intstr.FromInt32(70000), ""), 3),
				container(http(intstr.FromInt32(-1), ""), 3),
				container(corev1.ProbeHandler{}, 3),
				container(http(intstr.FromInt32(8084), ""), -7),
				live,
			},
		},
		Status: corev1.PodStatus{PodIP: "10.0.0.7"},
	}
	want := []Probe{
		{15021, 2 * time.Second, false, false}, {8080, 5 * time.Second, false, true}, {9090, 10 * time.Second, false, true}, {50051, time.Second, false, false},
		{0, time.Second, true, true}, // a command may connect to any port
		{8081, 3 * time.Second, false, true}, {8084, 10 * time.Second, false, true},
	}
	if got := readPod(pod).probes; !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	if got, want := readPod(pod).live, []Probe{{2, 10 * time.Second, false, true}}; !slices.Equal(got, want) {
		t.Errorf("liveness: %v, want %v", got, want)
	}
	// With hostNetwork the node's loopback is the pod's.
	pod.Spec.HostNetwork = true
	want = slices.Insert(want, 6, Probe{8082, 3 * time.Second, true, true})
	if got := readPod(pod).probes; !slices.Equal(got, want) {
		t.Errorf("with hostNetwork: %v\nwant %v", got, want)
	}
}

// A probe that names a host reaches the pod only by the pod's own addresses or, with hostNetwork,
// by loopback; and each probe is one more connection, whoever else probes the port.
func TestProbesByHost(t *testing.T) {
	probe := func(host string, tcp bool) corev1.Container {
		h := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80), Host: host}}
		if tcp {
			h = corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80), Host: host}}
		}
		return corev1.Container{ReadinessProbe: &corev1.Probe{ProbeHandler: h, PeriodSeconds: 1}}
	}
	for _, tt := range []struct {
		host              string
		ordinary, hostNet []Probe
	}{
		{"", []Probe{{80, time.Second, false, false}}, []Probe{{80, time.Second, false, false}}},
		{"10.0.0.7", []Probe{{80, time.Second, false, false}}, []Probe{{80, time.Second, false, false}}},
		{"127.0.0.1", nil, []Probe{{80, time.Second, true, false}}},
		{"127.8.8.8", nil, []Probe{{80, time.Second, true, false}}},
		{"::1", nil, []Probe{{80, time.Second, true, false}}},
		{"localhost", nil, []Probe{{80, time.Second, true, false}}},
		{"LOCALHOST", nil, []Probe{{80, time.Second, true, false}}},
		{"0.0.0.0", nil, []Probe{{80, time.Second, true, false}}},
		{"10.0.0.8", nil, nil},
		{"example.com", nil, nil},
	} {
		for hostNet, want := range map[bool][]Probe{false: tt.ordinary, true: tt.hostNet} {
			pod := &corev1.Pod{Status: corev1.PodStatus{PodIP: "10.0.0.7"}}
			pod.Spec.HostNetwork = hostNet
			pod.Spec.Containers = []corev1.Container{probe(tt.host, false), probe(tt.host, true)}
			want = append(slices.Clone(want), want...)
			for i := range want {
				want[i].Follows = i == 0 // of the two only an HTTP probe can be redirected
			}
			if got := readPod(pod).probes; !slices.Equal(got, want) {
				t.Errorf("host %q, hostNetwork %v: %v, want %v", tt.host, hostNet, got, want)
			}
		}
	}
}

func TestDeclaredPorts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{
			{RestartPolicy: &always, Ports: []corev1.ContainerPort{{ContainerPort: 15001}}},
			{Ports: []corev1.ContainerPort{{ContainerPort: 1}}}, // it has ended before the app began
		},
		Containers: []corev1.Container{
			{Ports: []corev1.ContainerPort{{ContainerPort: 8080, Protocol: "TCP"}, {ContainerPort: 53, Protocol: "UDP"}, {ContainerPort: 7, Protocol: "SCTP"}}},
			{Ports: []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 443}, {ContainerPort: 0}, {ContainerPort: 70000}}},
		},
	}}
	if got, want := readPod(pod).declared, []uint16{443, 8080, 15001}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestOwner(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		refs []metav1.OwnerReference
		want string
	}{
		{nil, ""},
		{[]metav1.OwnerReference{{Kind: "ReplicaSet", Controller: &yes}}, "ReplicaSet"},
		{[]metav1.OwnerReference{{Kind: "ConfigMap"}, {Kind: "Thing", Controller: &no}, {Kind: "StatefulSet", Controller: &yes}}, "StatefulSet"},
		{[]metav1.OwnerReference{{Kind: "Node", Controller: &yes}}, "Node"}, // a static pod's mirror
		{[]metav1.OwnerReference{{Kind: "ConfigMap"}}, ""},
		{[]metav1.OwnerReference{{Kind: "two\nlines", Controller: &yes}}, "two lines"},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: tt.refs}}
		if got := readPod(pod).owner; got != tt.want {
			t.Errorf("%v: %q, want %q", tt.refs, got, tt.want)
		}
	}
}

// What a restart of a container leaves of time: the probe's own grace period, else the pod's.
func TestRestart(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	with := func(n int64) *corev1.Probe { return &corev1.Probe{TerminationGracePeriodSeconds: &n} }
	for _, tt := range []struct {
		name        string
		init        []corev1.Container
		containers  []corev1.Container
		restartable bool
		grace       time.Duration
	}{
		{"no probe", nil, []corev1.Container{{ReadinessProbe: with(3)}}, false, 45 * time.Second},
		{"liveness", nil, []corev1.Container{{LivenessProbe: &corev1.Probe{}}}, true, 45 * time.Second},
		{"liveness with its own", nil, []corev1.Container{{LivenessProbe: with(5)}}, true, 5 * time.Second},
		{"longer than the pod's", nil, []corev1.Container{{LivenessProbe: with(60)}}, true, 60 * time.Second},
		{"longer, but not everywhere", nil, []corev1.Container{{LivenessProbe: with(60)}, {LivenessProbe: &corev1.Probe{}}}, true, 45 * time.Second},
		{"startup", nil, []corev1.Container{{}, {StartupProbe: with(7), LivenessProbe: with(9)}}, true, 7 * time.Second},
		{"sidecar", []corev1.Container{{RestartPolicy: &always, LivenessProbe: with(4)}}, []corev1.Container{{LivenessProbe: with(9)}}, true, 4 * time.Second},
		{"init container", []corev1.Container{{LivenessProbe: with(4)}}, []corev1.Container{{}}, false, 45 * time.Second},
		{"nonsense", nil, []corev1.Container{{LivenessProbe: with(-4)}}, true, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: at(int64(45)), InitContainers: tt.init, Containers: tt.containers,
			}}
			if f := readPod(pod); f.restartable != tt.restartable || f.restartGrace != tt.grace {
				t.Errorf("restartable %v, grace %v", f.restartable, f.restartGrace)
			}
		})
	}
}

func TestGrace(t *testing.T) {
	now := metav1.Now()
	for _, tt := range []struct {
		name        string
		spec, force *int64
		deleting    bool
		want, inAll time.Duration
	}{
		{"neither", nil, nil, false, 30 * time.Second, 30 * time.Second},
		{"spec", at(int64(45)), nil, false, 45 * time.Second, 45 * time.Second},
		{"deleting as the spec says", at(int64(45)), at(int64(45)), true, 45 * time.Second, 45 * time.Second},
		{"shortened", at(int64(45)), at(int64(5)), true, 5 * time.Second, 45 * time.Second},
		{"lengthened", at(int64(5)), at(int64(50)), true, 50 * time.Second, 5 * time.Second},
		{"deleting without a period", at(int64(45)), nil, true, 45 * time.Second, 45 * time.Second},
		{"not deleting, whatever the period", at(int64(45)), at(int64(5)), false, 45 * time.Second, 45 * time.Second},
		{"none at all", at(int64(0)), at(int64(0)), true, time.Second, time.Second},
		{"nonsense", at(int64(math.MinInt64)), at(int64(math.MaxInt64)), true, 365 * 24 * time.Hour, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{TerminationGracePeriodSeconds: tt.spec}}
			pod.DeletionGracePeriodSeconds = tt.force
			if tt.deleting {
				pod.DeletionTimestamp = &now
			}
			if f := readPod(pod); f.grace != tt.want || f.specGrace != tt.inAll {
				t.Errorf("grace %v of %v, want %v of %v", f.grace, f.specGrace, tt.want, tt.inAll)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Deadline\nExceeded\x1b[31m"}}
	if f := readPod(pod); f.ended != "Failed: Deadline Exceeded [31m" {
		t.Errorf("ended %q", f.ended)
	}
	pod.Status.Phase, pod.Status.Reason = corev1.PodSucceeded, ""
	if f := readPod(pod); f.ended != "Succeeded" {
		t.Errorf("ended %q", f.ended)
	}
	pod.Status.Phase = corev1.PodRunning
	if f := readPod(pod); f.ended != "" {
		t.Errorf("ended %q", f.ended)
	}
}

func FuzzPod(f *testing.F) {
	f.Add([]byte(`{"spec":{"containers":[{"readinessProbe":{"httpGet":{"port":"http"}},"ports":[{"name":"http","containerPort":8080}]}]}}`))
	f.Add([]byte(`{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","deletionGracePeriodSeconds":-9},"status":{"podIPs":[{"ip":"::1%x"},{}]}}`))
	f.Add([]byte(`{"metadata":{"creationTimestamp":"0001-01-01T00:00:00Z"},"status":{"conditions":[{"type":"Ready","lastTransitionTime":"9999-12-31T00:00:00Z"}],
		"containerStatuses":[{"restartCount":3,"lastState":{"terminated":{}}}]}}`))
	f.Add([]byte(`{"spec":{"initContainers":[{"restartPolicy":"Always","readinessProbe":{"grpc":{"port":99999}}}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var pod corev1.Pod
		if json.Unmarshal(text, &pod) != nil {
			return
		}
		facts := readPod(&pod)
		prospectOf(&pod, facts.deleted)
		if facts.grace < time.Second || facts.specGrace < time.Second || facts.restartGrace < time.Second {
			t.Errorf("grace %v of %v, of a restart %v", facts.grace, facts.specGrace, facts.restartGrace)
		}
		for _, p := range facts.probes {
			if p.Port == 0 && !p.Local || p.Period <= 0 {
				t.Errorf("probe %+v", p)
			}
		}
		if slices.Contains(facts.declared, 0) {
			t.Errorf("ports %v", facts.declared)
		}
		for _, line := range []string{facts.ended, facts.owner} {
			if line != oneLine(line) {
				t.Errorf("%q is no line", line)
			}
		}
	})
}
