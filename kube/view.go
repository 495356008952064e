package kube

import (
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// View is what the control plane knows of the pod, at one moment. It is the
// caller's own: nobody else reads or changes it.
type View struct {
	// PodKnown: the pod has been read at least once, consistently, or is proven
	// gone. SlicesKnown: the same of the slices that name it. Known is both.
	// Each may be true alone, if the other may not be read. All that follows
	// from what is not known has its zero value (Grace: the default).
	Known, PodKnown, SlicesKnown bool

	// Contact is when the API server last answered anything with success: a
	// request, an event, a bookmark. Zero: never. A channel that View returned
	// is not closed for it alone.
	Contact time.Time
	// Err is why some kind of request fails, the one that has failed longest,
	// but those that are refused first; one line, nil if all is well. It can
	// stand beside Known, where one way of reading fails and another works.
	Err error
	// Refused: Err won't go away by waiting: no permission, a certificate or
	// credentials that aren't accepted, no such pod. What has worked before is
	// never refused: it may work again.
	Refused bool
	// SlicesRefused: the slices are not known, and that won't go away by
	// waiting. Refused alone may be about the pod.
	SlicesRefused bool

	// Name and UID are the pod's in the API; "" while it is not known.
	Name, UID string

	// Deleting: the deletion timestamp is set, or the pod is gone.
	Deleting bool
	// Gone: the pod was deleted by force. It is no longer in the API, or its
	// name has passed to another pod.
	Gone bool
	// Ended is the terminal phase with its reason ("Failed: DeadlineExceeded"),
	// "" while the pod has none.
	Ended string
	// Disrupted is the reason and the message of the condition DisruptionTarget
	// (KEP-3329) while that is true, else "".
	Disrupted string
	// Grace is the grace period in force: that of the deletion, else the
	// spec's, else Kubernetes' default of 30 s. 1 s if Gone: that is what the
	// kubelet gives.
	Grace time.Duration
	// SpecGrace is the grace period of the pod's spec, 30 s without one.
	SpecGrace time.Duration

	HostNetwork bool
	NodeAddrs   []netip.Addr // status.hostIPs
	PodAddrs    []netip.Addr // status.podIPs
	// Probes are the readiness probes that open TCP connections to the pod.
	Probes []Probe

	// Services are those that name the pod, or did since the Watcher began and
	// still exist, sorted by name.
	Services []Service
	// Ports are the TCP ports of the slices that name the pod, or did: sorted,
	// each once.
	Ports []Port
}

// Probe is a readiness probe: a new TCP connection from the kubelet every Period.
type Probe struct {
	Port   uint16
	Period time.Duration
}

// Port is a target port of a Service, by the name of the Service's port ("" if
// it has none).
type Port struct {
	Name   string
	Number uint16
}

// Service is what the EndpointSlices of one Service say. They carry its name in
// the label kubernetes.io/service-name; slices without it are named after the
// Service that owns them, else after themselves.
type Service struct {
	Name string
	// InRotation: some slice lists the pod as ready and not terminating. Ready
	// unknown counts as true, as the API says.
	InRotation bool
	// AlwaysReady: some slice lists the pod as ready and terminating, which
	// only publishNotReadyAddresses does. It stays so until the pod is gone.
	AlwaysReady bool
	// Serving: some slice lists the pod as serving, or doesn't say that it isn't, so
	// that kube-proxy may fall back to it (KEP-1669).
	Serving bool
	// Ready and Coming count the other endpoints that are not terminating:
	// those ready and serving in every slice that lists them, and the rest. An
	// endpoint is a pod, of whatever address families; without a pod, an address.
	Ready, Coming int
}

// clone shares nothing that can be changed.
func (v View) clone() View {
	v.NodeAddrs = slices.Clone(v.NodeAddrs)
	v.PodAddrs = slices.Clone(v.PodAddrs)
	v.Probes = slices.Clone(v.Probes)
	v.Services = slices.Clone(v.Services)
	v.Ports = slices.Clone(v.Ports)
	return v
}

// sameAs reports whether the two differ in nothing but Contact.
func (v View) sameAs(other View) bool {
	if text(v.Err) != text(other.Err) {
		return false
	}
	v.Err, other.Err = nil, nil
	v.Contact, other.Contact = time.Time{}, time.Time{}
	return reflect.DeepEqual(v, other)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
