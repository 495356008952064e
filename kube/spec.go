package kube

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Spec is what of a pod's spec decides how its end goes, for whoever checks that beforehand.
type Spec struct {
	Name, UID      string
	ServiceAccount string
	Containers     []Container
}

// Container is one that runs as long as the pod does.
type Container struct {
	Name    string
	Sidecar bool // an init container with restartPolicy Always: it gets SIGTERM after the others have ended
	Hook    PreStop
	Token   bool // a service account's token is mounted
	// Readiness is how readiness is probed: "exec", "http", "tcp", "grpc"; "" for not at all.
	Readiness string
	Ports     []Port // TCP ports that it declares, by the names that it gives them
	// Env are the variables beginning with LULL_ whose values stand in the spec, in its order.
	Env []string
}

// PreStop is a container's preStop hook. Kind is "exec", "http", "tcp" or "sleep", "" for none.
type PreStop struct {
	Kind    string
	Command []string      // of exec
	Sleep   time.Duration // of sleep
}

// Spec returns the pod's spec as it was last read, false if it has not been.
func (w *Watcher) Spec() (Spec, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.know.pod.spec, w.know.podKnown && w.know.pod.uid != ""
}

func readSpec(pod *corev1.Pod) Spec {
	s := Spec{Name: pod.Name, UID: string(pod.UID), ServiceAccount: pod.Spec.ServiceAccountName}
	for c := range lasting(&pod.Spec) {
		own := readContainer(c)
		own.Sidecar = slices.ContainsFunc(pod.Spec.InitContainers, func(init corev1.Container) bool { return init.Name == c.Name })
		s.Containers = append(s.Containers, own)
	}
	return s
}

// tokenMount is where the service account's admission plugin puts the token
// (k8s.io/kubernetes, plugin/pkg/admission/serviceaccount, DefaultAPITokenMountPath).
const tokenMount = "/var/run/secrets/kubernetes.io/serviceaccount"

func readContainer(from *corev1.Container) Container {
	c := Container{Name: oneLine(from.Name)}
	for _, m := range from.VolumeMounts {
		c.Token = c.Token || strings.TrimRight(m.MountPath, "/") == tokenMount
	}
	for _, p := range from.Ports {
		if n := portNumber(p.ContainerPort); n != 0 && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
			c.Ports = append(c.Ports, Port{Name: p.Name, Number: n})
		}
	}
	for _, e := range from.Env {
		if strings.HasPrefix(e.Name, "LULL_") && e.ValueFrom == nil {
			c.Env = append(c.Env, e.Name+"="+e.Value)
		}
	}
	if p := from.ReadinessProbe; p != nil {
		c.Readiness = handlerKind(p.Exec != nil, p.HTTPGet != nil, p.TCPSocket != nil)
		if p.GRPC != nil {
			c.Readiness = "grpc"
		}
	}
	if from.Lifecycle != nil && from.Lifecycle.PreStop != nil {
		c.Hook = readHook(from.Lifecycle.PreStop)
	}
	return c
}

func readHook(from *corev1.LifecycleHandler) PreStop {
	h := PreStop{Kind: handlerKind(from.Exec != nil, from.HTTPGet != nil, from.TCPSocket != nil)}
	switch {
	case from.Exec != nil:
		h.Command = from.Exec.Command
	case from.Sleep != nil:
		h.Kind, h.Sleep = "sleep", time.Duration(min(max(from.Sleep.Seconds, 0), 1<<31))*time.Second
	}
	return h
}

func handlerKind(exec, http, tcp bool) string {
	switch {
	case exec:
		return "exec"
	case http:
		return "http"
	case tcp:
		return "tcp"
	}
	return ""
}
