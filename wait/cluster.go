package wait

import (
	"net/netip"
	"slices"
	"time"
)

// Cluster is what the control plane knows of the pod.
type Cluster interface {
	// View returns the newest view, and a channel that is closed once there is a newer one.
	// View.Contact may move without that.
	View() (View, <-chan struct{})
}

// View is one state of the control plane's knowledge. Nobody changes it after it was handed out.
type View struct {
	// SlicesKnown: the pod's EndpointSlices have been read, consistently.
	SlicesKnown bool
	// PodKnown: the pod has been read, or is known to be gone.
	PodKnown bool
	// Contact is when the control plane last answered. Zero: never.
	Contact time.Time
	// SlicesContact is when it last answered a question about EndpointSlices: a list of many may
	// take a while. Zero: never.
	SlicesContact time.Time
	// Asked is since when the control plane owes an answer, as far as this process has run since
	// then. Zero: it owes none.
	Asked time.Time
	// Err is the newest failure since Contact.
	Err error
	// Refused: Err will not go away by waiting, as missing permissions don't. SlicesRefused: that
	// is why the slices are not known.
	Refused, SlicesRefused bool

	// Deleting: the pod has a deletion timestamp, or is gone already.
	Deleting bool
	// Ended is the pod's terminal phase with its reason, "" while it has none.
	Ended string
	// Grace is the grace period in force.
	Grace time.Duration
	// RestartGrace is the shortest grace period that the kubelet gives a container that it
	// restarts, whose probe may have one of its own.
	RestartGrace time.Duration
	// Restartable: some container has a liveness or a startup probe.
	Restartable bool
	// Owner is the kind of the pod's controller, "" for none.
	Owner string
	// HostNetwork: the pod has the node's addresses and listening sockets.
	HostNetwork bool
	// NodeAddrs are the node's addresses, from which its probes come, PodAddrs the pod's own.
	NodeAddrs, PodAddrs []netip.Addr
	// Probes are the readiness probes that open connections to the pod, or may.
	Probes []Probe
	// Live are the liveness probes that do, until the pod is deleted.
	Live []Probe
	// Declared are the TCP ports that the pod's containers declare.
	Declared []uint16

	// Services are those that name the pod and that the user asked about.
	Services []Service
	// Named are the Services that name the pod, or did since the hook began.
	Named []string
	// Ports are the TCP ports that the slices name, or did.
	Ports []Port
}

// Port is a port, by number or by the name that a Service has for it.
type Port struct {
	Name   string // "" if it has none
	Number uint16
}

// Probe is one readiness probe of the pod: as a rule a new connection to Port every Period.
type Probe struct {
	Port   uint16 // 0: any
	Period time.Duration
	// Local: it comes from loopback or the pod's own addresses, as a probe does that is a command
	// in the container.
	Local bool
	// Follows: it may make more connections than one, as where the app redirects it.
	Follows bool
}

// Service is what a Service's EndpointSlices say.
type Service struct {
	Name string
	// InRotation: the pod is listed with ready not false, and that will change.
	InRotation bool
	// AlwaysReady: the pod is listed ready although it terminates, because the Service publishes
	// addresses that are not ready. That will not change.
	AlwaysReady bool
	// Serving: the pod is listed as serving, so that kube-proxy may fall back to it while no
	// endpoint is ready (KEP-1669).
	Serving bool
	// Ready counts the other endpoints that are ready and not terminating.
	Ready int
	// Coming counts the other endpoints that are neither ready nor terminating and will be ready
	// soon, as far as can be told.
	Coming int
	// StandBy counts those that have been unready for long, or fail again and again.
	StandBy int
	// Steady counts those of StandBy that run without failing: they wait for something, as a
	// replica does that waits to be the leader.
	Steady int
	// Unmanaged: the slices that list the pod ready are not the endpoint controller's, so that
	// nobody promises that they follow a deletion.
	Unmanaged bool
	// Headless: the Service has no address of its own. Clients look its endpoints up by name.
	Headless bool
	// Unwatched names the ports that no TCP socket shows, like "443/UDP (http3)".
	Unwatched []string
	// Local: traffic stays on the node (internalTrafficPolicy), so that Ready, Coming and StandBy
	// count the node's own endpoints alone. LocalUnknown: that could not be asked, and it would
	// matter.
	Local, LocalUnknown bool
}

func inRotation(s Service) bool { return s.InRotation }

// services names those for which the condition holds.
func (v View) services(which func(Service) bool) []string {
	var names []string
	for _, s := range v.Services {
		if which(s) {
			names = append(names, s.Name)
		}
	}
	return slices.Clip(names)
}

// undeleted reports whether the pod is known and not being deleted.
func (v View) undeleted() bool { return v.PodKnown && !v.Deleting }

// isAlone reports whether nobody can take over from the pod: no Service that lists it has another
// endpoint, ready or coming. Either its owner makes another pod only once this one is gone, or the
// others wait for it to go, as for their leader, or the user says so (HandoverNever). Then
// kube-proxy rightly goes on sending here, and no wait ends that. young: one beside those that wait
// may yet become ready.
func (v View) isAlone(handover HandoverMode, young bool) bool {
	if v.undeleted() || !v.PodKnown {
		return false
	}
	others := v.services(func(s Service) bool {
		switch {
		case s.Headless:
			return false
		case s.Ready > 0 || handover == HandoverNever:
			return s.Ready > 0
		case s.Steady > 0:
			return s.Coming > 0 && young
		}
		return s.Coming > 0 || v.isReplaced()
	})
	return len(v.services(Service.fallsBack)) > 0 && len(others) == 0
}

// isReplaced reports whether the pod's owner makes another pod as soon as this one is deleted.
// Those that are not known here, mostly operators', delete a pod before they make the next.
func (v View) isReplaced() bool {
	return slices.Contains([]string{"ReplicaSet", "ReplicationController", "Job"}, v.Owner)
}

// fallsBack reports whether kube-proxy may send the Service's traffic here as long as no endpoint
// is ready. A headless Service's clients look its endpoints up, and nobody falls back for them.
func (s Service) fallsBack() bool { return s.Serving && !s.Headless }
