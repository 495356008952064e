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
		{15021, 2 * time.Second}, {8080, 5 * time.Second}, {9090, 10 * time.Second}, {50051, time.Second},
		{8081, 3 * time.Second}, {8084, 10 * time.Second},
	}
	if got := readPod(pod).probes; !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
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

func TestEndAndDisruption(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{
		Phase: corev1.PodFailed, Reason: "DeadlineExceeded",
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, Reason: "no"},
			{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "Eviction API:\nevicting\x1b[31m"},
		},
	}}
	f := readPod(pod)
	if f.ended != "Failed: DeadlineExceeded" || f.disrupted != "EvictionByEvictionAPI: Eviction API: evicting [31m" {
		t.Errorf("ended %q, disrupted %q", f.ended, f.disrupted)
	}
	pod.Status.Phase, pod.Status.Reason = corev1.PodSucceeded, ""
	pod.Status.Conditions[1].Status = corev1.ConditionFalse
	if f := readPod(pod); f.ended != "Succeeded" || f.disrupted != "" {
		t.Errorf("ended %q, disrupted %q", f.ended, f.disrupted)
	}
	pod.Status.Phase = corev1.PodRunning
	if f := readPod(pod); f.ended != "" {
		t.Errorf("ended %q", f.ended)
	}
}

func FuzzPod(f *testing.F) {
	f.Add([]byte(`{"spec":{"containers":[{"readinessProbe":{"httpGet":{"port":"http"}},"ports":[{"name":"http","containerPort":8080}]}]}}`))
	f.Add([]byte(`{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","deletionGracePeriodSeconds":-9},"status":{"podIPs":[{"ip":"::1%x"},{}]}}`))
	f.Add([]byte(`{"spec":{"initContainers":[{"restartPolicy":"Always","readinessProbe":{"grpc":{"port":99999}}}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var pod corev1.Pod
		if json.Unmarshal(text, &pod) != nil {
			return
		}
		facts := readPod(&pod)
		if facts.grace < time.Second || facts.specGrace < time.Second {
			t.Errorf("grace %v of %v", facts.grace, facts.specGrace)
		}
		for _, p := range facts.probes {
			if p.Port == 0 || p.Period <= 0 {
				t.Errorf("probe %+v", p)
			}
		}
		for _, line := range []string{facts.ended, facts.disrupted} {
			if line != oneLine(line) {
				t.Errorf("%q is no line", line)
			}
		}
	})
}
