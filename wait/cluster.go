package wait

import (
	"net/netip"
	"time"
)

// Cluster is what the control plane knows of the pod.
type Cluster interface {
	// View returns the newest view, and a channel that is closed once there is
	// a newer one. View.Contact may move without that.
	View() (View, <-chan struct{})
}

// View is one state of the control plane's knowledge. Nobody changes it after
// it was handed out.
type View struct {
	// SlicesKnown: the pod's EndpointSlices have been read, consistently.
	SlicesKnown bool
	// PodKnown: the pod has been read, or is known to be gone.
	PodKnown bool
	// Contact is when the control plane last answered. Zero: never.
	Contact time.Time
	// Err is the newest failure since Contact.
	Err error
	// Refused: Err will not go away by waiting, as missing permissions don't.
	// SlicesRefused: that is why the slices are not known.
	Refused, SlicesRefused bool

	// Deleting: the pod has a deletion timestamp, or is gone already.
	Deleting bool
	// Ended is the pod's terminal phase with its reason, "" while it has none.
	Ended string
	// Disrupted is why the pod is being evicted or preempted, "" if it isn't.
	Disrupted string
	// Grace is the grace period in force.
	Grace time.Duration
	// NodeAddrs are the node's addresses, from which its probes come.
	NodeAddrs []netip.Addr
	// Probes are the readiness probes that open connections to the pod.
	Probes []Probe

	// Services are those that name the pod and that the user asked about.
	Services []Service
	// Ports are the ports to watch. Empty: every listening port.
	Ports []uint16
}

// Probe is one readiness probe of the pod: a new connection to Port every Period.
type Probe struct {
	Port   uint16
	Period time.Duration
}

// Service is what a Service's EndpointSlices say.
type Service struct {
	Name string
	// InRotation: the pod is listed with ready not false, and that will change.
	InRotation bool
	// AlwaysReady: the pod is listed ready although it terminates, because the
	// Service publishes addresses that are not ready. That will not change.
	AlwaysReady bool
	// Serving: the pod is listed as serving, so that kube-proxy may fall back
	// to it while no endpoint is ready (KEP-1669).
	Serving bool
	// Ready counts the other endpoints that are ready and not terminating.
	Ready int
	// Coming counts the other endpoints that are neither ready nor terminating.
	Coming int
}
