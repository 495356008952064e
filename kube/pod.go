package kube

import (
	"math"
	"net/netip"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// defaultGrace is the API's default of terminationGracePeriodSeconds;
// forceGrace what the kubelet makes of a deletion's grace period of 0, a deletion
// by force (its pkg/kubelet/pod_workers.go, calculateEffectiveGracePeriod).
const (
	defaultGrace = corev1.DefaultTerminationGracePeriodSeconds * time.Second
	forceGrace   = time.Second
)

// configHash is the annotation of a mirror pod that holds the UID by which the
// kubelet knows the static pod (kubelet's pkg/kubelet/types, ConfigHashAnnotationKey).
const configHash = "kubernetes.io/config.hash"

// podFacts is what a View says of the pod's object.
type podFacts struct {
	uid, version, name      string
	deleting                bool
	ended, disrupted        string
	grace, specGrace        time.Duration
	hostNetwork             bool
	nodeAddrs, podAddresses []netip.Addr
	probes                  []Probe
}

func readPod(pod *corev1.Pod) podFacts {
	f := podFacts{
		uid:         string(pod.UID),
		version:     pod.ResourceVersion,
		name:        pod.Name,
		deleting:    pod.DeletionTimestamp != nil,
		ended:       ended(&pod.Status),
		disrupted:   disrupted(pod.Status.Conditions),
		hostNetwork: pod.Spec.HostNetwork,
		specGrace:   seconds(pod.Spec.TerminationGracePeriodSeconds, defaultGrace),
	}
	f.grace = f.specGrace
	if f.deleting {
		f.grace = seconds(pod.DeletionGracePeriodSeconds, f.specGrace)
	}
	// The plural fields repeat the singular ones; older servers and hand-made
	// objects may have those alone.
	f.nodeAddrs = addAddr(f.nodeAddrs, pod.Status.HostIP)
	for _, ip := range pod.Status.HostIPs {
		f.nodeAddrs = addAddr(f.nodeAddrs, ip.IP)
	}
	f.podAddresses = addAddr(f.podAddresses, pod.Status.PodIP)
	for _, ip := range pod.Status.PodIPs {
		f.podAddresses = addAddr(f.podAddresses, ip.IP)
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		// Only a sidecar (KEP-753) has probes and outlives the start.
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			f.addProbe(c)
		}
	}
	for i := range pod.Spec.Containers {
		f.addProbe(&pod.Spec.Containers[i])
	}
	return f
}

// addProbe follows the kubelet's pkg/kubelet/prober/prober.go, runProbe, and
// pkg/probe/http/request.go: exec probes open no connection; httpGet and
// tcpSocket may name another host than the pod.
func (f *podFacts) addProbe(c *corev1.Container) {
	p := c.ReadinessProbe
	if p == nil {
		return
	}
	var port uint16
	var host string
	switch {
	case p.HTTPGet != nil:
		port, host = probePort(p.HTTPGet.Port, c), p.HTTPGet.Host
	case p.TCPSocket != nil:
		port, host = probePort(p.TCPSocket.Port, c), p.TCPSocket.Host
	case p.GRPC != nil:
		port = portNumber(p.GRPC.Port)
	}
	if port == 0 || host != "" && !f.hasAddr(host) {
		return
	}
	every := time.Duration(max(p.PeriodSeconds, 0)) * time.Second
	if every == 0 {
		every = 10 * time.Second // the API's default
	}
	f.probes = append(f.probes, Probe{Port: port, Period: every})
}

func (f *podFacts) hasAddr(text string) bool {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	for _, a := range f.podAddresses {
		if a == addr.Unmap() {
			return true
		}
	}
	return false
}

// probePort resolves a named port within its container, as the kubelet does
// (pkg/probe/util.go, ResolveContainerPort), or a number in a string, as kubelets
// once did. 0: it names no port.
func probePort(port intstr.IntOrString, c *corev1.Container) uint16 {
	if port.Type == intstr.Int {
		return portNumber(port.IntVal)
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return portNumber(p.ContainerPort)
		}
	}
	n, err := strconv.ParseUint(port.StrVal, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

func portNumber(n int32) uint16 {
	if n < 1 || n > math.MaxUint16 {
		return 0
	}
	return uint16(n)
}

func ended(status *corev1.PodStatus) string {
	if status.Phase != corev1.PodFailed && status.Phase != corev1.PodSucceeded {
		return ""
	}
	return oneLine(join(string(status.Phase), status.Reason))
}

func disrupted(conditions []corev1.PodCondition) string {
	for _, c := range conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return oneLine(join(c.Reason, c.Message))
		}
	}
	return ""
}

func join(head, tail string) string {
	if head == "" || tail == "" {
		return head + tail
	}
	return head + ": " + tail
}

// seconds reads an optional number of seconds. Less than one counts as one,
// like in the kubelet (pkg/kubelet/pod_workers.go, calculateEffectiveGracePeriod);
// more than a year as a year.
func seconds(n *int64, or time.Duration) time.Duration {
	const year = 365 * 24 * 3600
	if n == nil {
		return or
	}
	return time.Duration(min(max(*n, 1), year)) * time.Second
}

// addAddr appends the address if text is one and it is new.
func addAddr(to []netip.Addr, text string) []netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return to
	}
	addr = addr.Unmap()
	for _, a := range to {
		if a == addr {
			return to
		}
	}
	return append(to, addr)
}
