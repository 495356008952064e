package kube

import (
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// View is what the control plane knows of the pod, at one moment. It is the caller's own: nobody
// else reads or changes it.
type View struct {
	// PodKnown: the pod has been read at least once, consistently, or is proven gone. SlicesKnown:
	// the same of the slices that name it. Each may be true alone, if the other may not be read.
	// All that follows from what is not known has its zero value (Grace: the default).
	PodKnown, SlicesKnown bool

	// Contact is when the API server last answered anything with success: a request, an event, a
	// bookmark. Zero: never. A channel that View returned is not closed for it alone.
	Contact time.Time
	// SlicesContact is when it last answered a question about slices, be it with a page of many.
	SlicesContact time.Time
	// Asked is since when the API server owes an answer: when the first request was sent since it
	// last answered with success. Zero: it owes none. Time in which this process was itself stopped
	// does not count, so Asked then lies later than the request. A channel that View returned is
	// not closed for it alone.
	Asked time.Time
	// Err is why some kind of request fails, the one that has failed longest, but those that are
	// refused first; one line, nil if all is well. It can stand beside PodKnown and SlicesKnown,
	// where one way of reading fails and another works.
	Err error
	// Refused: Err won't go away by waiting: no permission, a certificate or credentials that
	// aren't accepted, no such pod. What has worked before is never refused: it may work again.
	Refused bool
	// SlicesRefused: the slices are not known, and that won't go away by waiting. Refused alone may
	// be about the pod.
	SlicesRefused bool

	// Deleting: the deletion timestamp is set, or the pod is gone: it is no longer in the API, or
	// its name has passed to another pod, as after a deletion by force.
	Deleting bool
	// Ended is the terminal phase with its reason ("Failed: DeadlineExceeded"), "" while the pod
	// has none.
	Ended string
	// Grace is the grace period in force: that of the deletion, else the spec's, else Kubernetes'
	// default of 30 s. 1 s if the pod is gone: that is what the kubelet gives.
	Grace time.Duration

	// Restartable: some container has a liveness or a startup probe, so that the kubelet may
	// restart it. RestartGrace is the smallest grace period that such a restart can have: the
	// probe's own, else the pod's. Containers are those that run as long as the pod does, native
	// sidecars included.
	Restartable  bool
	RestartGrace time.Duration
	// Owner is the kind of the owner that controls the pod ("ReplicaSet", "StatefulSet",
	// "DaemonSet", "Job", "Node" for a static pod), "" for none.
	Owner string

	HostNetwork bool         // the pod has the node's network, and its addresses
	NodeAddrs   []netip.Addr // status.hostIPs
	PodAddrs    []netip.Addr // status.podIPs
	// Declared are the TCP ports that the pod's containers declare: sorted, each once. A container
	// may listen on others.
	Declared []uint16
	// Probes are the readiness probes that open TCP connections to the pod, or may: those of every
	// container, in the order of the spec. Several on one port stand here one by one.
	Probes []Probe
	// Live are the liveness probes that do so. They stop when the pod is deleted.
	Live []Probe

	// Services are those that name the pod, or did since the Watcher began and still exist, sorted
	// by name.
	Services []Service
	// Named are the names of the Services that name the pod, or did since the Watcher began,
	// whether they still exist or not; sorted.
	Named []string
	// Ports are the TCP ports of the slices that name the pod, or did: sorted, each once.
	Ports []Port
}

// Probe is a readiness probe: every Period a new TCP connection. The kubelet makes it from the
// node, but for those that are Local.
type Probe struct {
	Port   uint16 // 0: any, since a command connects where it likes, or not at all
	Period time.Duration
	// Local: it comes from loopback or from one of the pod's own addresses. Commands do, and with
	// hostNetwork what is probed by a loopback address.
	Local bool
	// Follows: it may make more connections than one, as a command may, and an HTTP probe that is
	// answered by a redirect within the host.
	Follows bool
}

// Port is a target port of a Service, by the name of the Service's port ("" if it has none).
type Port struct {
	Name   string
	Number uint16
}

// Service is what the EndpointSlices of one Service say. They carry its name in the label
// kubernetes.io/service-name; slices without it are named after the Service that owns them, else
// after themselves.
type Service struct {
	Name string
	// InRotation: some slice lists the pod as ready and not terminating. Ready unknown counts as
	// true, as the API says.
	InRotation bool
	// AlwaysReady: some slice lists the pod as ready and terminating, which only
	// publishNotReadyAddresses does. It stays so until the pod is gone.
	AlwaysReady bool
	// Serving: some slice lists the pod as serving, or doesn't say that it isn't, so that
	// kube-proxy may fall back to it (KEP-1669).
	Serving bool
	// Ready, Coming and StandBy count the other endpoints that are not terminating: those ready and
	// serving in every slice that lists them, those that may soon be, and those that will not be:
	// pods that have not been ready since long before this one was deleted, or that fail again and
	// again. What is not known of a pod counts as Coming. An endpoint is a pod, of whatever address
	// families; without a pod, an address. If the Service is Local, only those on the pod's node
	// count.
	Ready, Coming, StandBy int
	// Steady counts those of StandBy that run without failing: they wait for something, as a replica
	// does that waits to be the leader.
	Steady int

	// Unmanaged: of the slices that list the pod as ready and not terminating, none is the endpoint
	// controller's. Nobody promises that whoever made them follows a deletion.
	Unmanaged bool
	// Headless: the Service has no address of its own, so clients have the pod's from DNS, and may
	// keep it for as long as that answer lives.
	Headless bool
	// Unwatched are the ports on which traffic comes that is not TCP: "443/UDP (http3)".
	Unwatched []string
	// Local: its internalTrafficPolicy is Local, so that a node sends traffic from its pods to its
	// own endpoints alone, and falls back to terminating ones by itself.
	// LocalUnknown: that is not known, since the Service cannot be read, or has not been yet; and
	// it would change what counts, or it is not known whether it would.
	Local, LocalUnknown bool
}

// clone shares nothing that can be changed.
func (v View) clone() View {
	v.NodeAddrs = slices.Clone(v.NodeAddrs)
	v.PodAddrs = slices.Clone(v.PodAddrs)
	v.Declared = slices.Clone(v.Declared)
	v.Probes, v.Live = slices.Clone(v.Probes), slices.Clone(v.Live)
	v.Services = slices.Clone(v.Services)
	for i := range v.Services {
		v.Services[i].Unwatched = slices.Clone(v.Services[i].Unwatched)
	}
	v.Named = slices.Clone(v.Named)
	v.Ports = slices.Clone(v.Ports)
	return v
}

// sameAs reports whether the two differ in nothing but Contact and Asked.
func (v View) sameAs(other View) bool {
	if text(v.Err) != text(other.Err) {
		return false
	}
	v.Err, other.Err = nil, nil
	v.Contact, other.Contact = time.Time{}, time.Time{}
	v.SlicesContact, other.SlicesContact = time.Time{}, time.Time{}
	v.Asked, other.Asked = time.Time{}, time.Time{}
	return reflect.DeepEqual(v, other)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
