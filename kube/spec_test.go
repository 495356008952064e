package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestSpec(t *testing.T) {
	hook := func(h corev1.LifecycleHandler) *corev1.Lifecycle { return &corev1.Lifecycle{PreStop: &h} }
	probe := func(h corev1.ProbeHandler) *corev1.Probe { return &corev1.Probe{ProbeHandler: h, PeriodSeconds: 3} }
	tcp := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(7)}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		ServiceAccountName: "web",
		InitContainers: []corev1.Container{
			{Name: "setup", Lifecycle: hook(corev1.LifecycleHandler{})},
			{Name: "mesh", RestartPolicy: at(corev1.ContainerRestartPolicyAlways), ReadinessProbe: probe(tcp)},
		},
		Containers: []corev1.Container{
			{
				Name:           "app",
				Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {ContainerPort: 53, Protocol: corev1.ProtocolUDP}, {ContainerPort: -1}},
				VolumeMounts:   []corev1.VolumeMount{{MountPath: "/tmp"}, {MountPath: tokenMount + "/"}},
				Env:            []corev1.EnvVar{{Name: "LULL_QUIET", Value: "3s"}, {Name: "A", Value: "b"}, {Name: "LULL_MIN", ValueFrom: &corev1.EnvVarSource{}}},
				Lifecycle:      hook(corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/lull", "--min=3s"}}}),
				ReadinessProbe: probe(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")}}),
				LivenessProbe:  probe(corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")}}),
			},
			{Name: "sleeps", Lifecycle: hook(corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 2}}), RestartPolicy: at(corev1.ContainerRestartPolicyAlways)},
			{Name: "forever", Lifecycle: hook(corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1 << 62}})},
			{Name: "calls", Lifecycle: hook(corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{}}), ReadinessProbe: probe(corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 1}})},
			{Name: "starts", Lifecycle: &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{}}, ReadinessProbe: probe(corev1.ProbeHandler{Exec: &corev1.ExecAction{}})},
			{Name: "knocks", Lifecycle: hook(corev1.LifecycleHandler{TCPSocket: &corev1.TCPSocketAction{}})},
		},
	}}
	want := Spec{
		ServiceAccount: "web",
		Containers: []Container{
			{Name: "mesh", Sidecar: true, Readiness: "tcp"},
			{
				Name: "app", Hook: PreStop{Kind: "exec", Command: []string{"/lull", "--min=3s"}}, Token: true, Readiness: "http",
				Ports: []Port{{"http", 8080}}, Env: []string{"LULL_QUIET=3s"},
			},
			{Name: "sleeps", Hook: PreStop{Kind: "sleep", Sleep: 2 * time.Second}},
			{Name: "forever", Hook: PreStop{Kind: "sleep", Sleep: 1 << 31 * time.Second}},
			{Name: "calls", Hook: PreStop{Kind: "http"}, Readiness: "grpc"},
			{Name: "starts", Readiness: "exec"},
			{Name: "knocks", Hook: PreStop{Kind: "tcp"}},
		},
	}
	if diff := cmp.Diff(want, readPod(pod).spec); diff != "" {
		t.Error(diff)
	}
}
