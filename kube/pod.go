package kube

import (
	"iter"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// defaultGrace is the API's default of terminationGracePeriodSeconds; forceGrace what the kubelet
// makes of a deletion's grace period of 0, a deletion by force (its pkg/kubelet/pod_workers.go,
// calculateEffectiveGracePeriod).
const (
	defaultGrace = corev1.DefaultTerminationGracePeriodSeconds * time.Second
	forceGrace   = time.Second
)

// configHash is the annotation of a mirror pod that holds the UID by which the kubelet knows the
// static pod (kubelet's pkg/kubelet/types, ConfigHashAnnotationKey).
const configHash = "kubernetes.io/config.hash"

// podFacts is what a View says of the pod's object.
type podFacts struct {
	uid, name, node         string
	deleted                 time.Time // when the deletion was asked for, by the API server's clock
	deleting                bool
	ended, owner            string
	grace, specGrace        time.Duration
	restartable             bool
	restartGrace            time.Duration
	hostNetwork             bool
	nodeAddrs, podAddresses []netip.Addr
	declared                []uint16
	probes, live            []Probe
	spec                    Spec
}

func readPod(pod *corev1.Pod) podFacts {
	f := podFacts{
		uid:         string(pod.UID),
		name:        pod.Name,
		node:        pod.Spec.NodeName,
		deleting:    pod.DeletionTimestamp != nil,
		ended:       ended(&pod.Status),
		hostNetwork: pod.Spec.HostNetwork,
		specGrace:   seconds(pod.Spec.TerminationGracePeriodSeconds, defaultGrace),
	}
	f.grace = f.specGrace
	if f.deleting {
		f.grace = seconds(pod.DeletionGracePeriodSeconds, f.specGrace)
		// k8s.io/apiserver, pkg/registry/rest/delete.go, BeforeDelete: the timestamp is that of the
		// request and the grace period on top.
		f.deleted = pod.DeletionTimestamp.Add(-f.grace)
	}
	// The plural fields repeat the singular ones; older servers and hand-made objects may have
	// those alone.
	f.nodeAddrs = addAddr(f.nodeAddrs, pod.Status.HostIP)
	for _, ip := range pod.Status.HostIPs {
		f.nodeAddrs = addAddr(f.nodeAddrs, ip.IP)
	}
	f.podAddresses = addAddr(f.podAddresses, pod.Status.PodIP)
	for _, ip := range pod.Status.PodIPs {
		f.podAddresses = addAddr(f.podAddresses, ip.IP)
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		f.owner = oneLine(owner.Kind)
	}
	for c := range lasting(&pod.Spec) {
		f.probes = f.addProbe(f.probes, c, c.ReadinessProbe)
		f.live = f.addProbe(f.live, c, c.LivenessProbe)
		f.addPorts(c)
		f.addRestart(c)
	}
	f.spec = readSpec(pod)
	slices.Sort(f.declared)
	f.declared = slices.Compact(f.declared)
	if !f.restartable {
		f.restartGrace = f.specGrace
	}
	return f
}

// lasting yields the containers that run as long as the pod does. Of the init containers those are
// the sidecars (KEP-753), and only they have probes.
func lasting(spec *corev1.PodSpec) iter.Seq[*corev1.Container] {
	return func(yield func(*corev1.Container) bool) {
		for i := range spec.InitContainers {
			c := &spec.InitContainers[i]
			sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
			if sidecar && !yield(c) {
				return
			}
		}
		for i := range spec.Containers {
			if !yield(&spec.Containers[i]) {
				return
			}
		}
	}
}

func (f *podFacts) addPorts(c *corev1.Container) {
	for _, p := range c.Ports {
		if n := portNumber(p.ContainerPort); n != 0 && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
			f.declared = append(f.declared, n)
		}
	}
}

// addRestart follows the kubelet's pkg/kubelet/kuberuntime/kuberuntime_container.go,
// setTerminationGracePeriod: a container that is killed for a failed liveness or startup probe gets
// that probe's own grace period, if it has one.
func (f *podFacts) addRestart(c *corev1.Container) {
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.StartupProbe} {
		if p == nil {
			continue
		}
		grace := seconds(p.TerminationGracePeriodSeconds, f.specGrace)
		if !f.restartable || grace < f.restartGrace {
			f.restartable, f.restartGrace = true, grace
		}
	}
}

// addProbe follows the kubelet's pkg/kubelet/prober/prober.go, runProbe, and
// pkg/probe/http/request.go. The kubelet connects from the node, to the pod's address or to the
// host that httpGet or tcpSocket names. What a command does nobody knows: if it connects to the
// app, it does so from inside the pod.
func (f *podFacts) addProbe(to []Probe, c *corev1.Container, p *corev1.Probe) []Probe {
	if p == nil {
		return to
	}
	var port uint16
	var host string
	switch {
	case p.Exec != nil:
		return append(to, Probe{Period: period(p), Local: true, Follows: true})
	case p.HTTPGet != nil:
		port, host = probePort(p.HTTPGet.Port, c), p.HTTPGet.Host
	case p.TCPSocket != nil:
		port, host = probePort(p.TCPSocket.Port, c), p.TCPSocket.Host
	case p.GRPC != nil:
		port = portNumber(p.GRPC.Port)
	}
	// The node's loopback is the pod's only with hostNetwork.
	local := f.hostNetwork && isLoopback(host)
	if port == 0 || host != "" && !local && !f.hasAddr(host) {
		return to
	}
	return append(to, Probe{Port: port, Period: period(p), Local: local, Follows: p.HTTPGet != nil})
}

func period(p *corev1.Probe) time.Duration {
	if p.PeriodSeconds <= 0 {
		return 10 * time.Second // the API's default
	}
	return time.Duration(p.PeriodSeconds) * time.Second
}

// isLoopback reports whether a connection to host stays on loopback: Linux takes the unspecified
// address for it, too (net/ipv4/route.c, ip_route_output_key_hash_rcu).
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && (addr.Unmap().IsLoopback() || addr.IsUnspecified())
}

func (f *podFacts) hasAddr(text string) bool {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	return slices.Contains(f.podAddresses, addr.Unmap())
}

// probePort resolves a named port within its container, as the kubelet does (pkg/probe/util.go,
// ResolveContainerPort), or a number in a string, as kubelets once did. 0: it names no port.
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
	if status.Reason == "" {
		return string(status.Phase)
	}
	return oneLine(string(status.Phase) + ": " + status.Reason)
}

// seconds reads an optional number of seconds. Less than one counts as one, like in the kubelet
// (pkg/kubelet/pod_workers.go, calculateEffectiveGracePeriod); more than a year as a year.
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
	if addr = addr.Unmap(); slices.Contains(to, addr) {
		return to
	}
	return append(to, addr)
}
