package kube

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// slice is what counts of an EndpointSlice: a tenth of the object.
type slice struct {
	service   string
	labelled  bool // service comes from the label by which a watch can be narrowed
	family    discoveryv1.AddressType
	ports     []Port
	endpoints []endpoint
}

type endpoint struct {
	uid   string // of the pod, "" if the endpoint names none
	addrs []netip.Addr
	// The conditions, with what the API says of unknown ones (discovery/v1,
	// EndpointConditions): ready and serving count as true, terminating as false.
	ready, serving, terminating bool
}

// whoami is how the pod is found among endpoints.
type whoami struct {
	uid   string
	addrs []netip.Addr
}

func (w whoami) known() bool { return w.uid != "" || len(w.addrs) > 0 }

func (w whoami) equal(o whoami) bool { return w.uid == o.uid && slices.Equal(w.addrs, o.addrs) }

// is reports whether e is the pod: by UID, and only where one of the two has
// none by address, since pods with hostNetwork share theirs.
func (w whoami) is(e *endpoint) bool {
	if e.uid != "" && w.uid != "" {
		return e.uid == w.uid
	}
	for _, a := range e.addrs {
		if slices.Contains(w.addrs, a) {
			return true
		}
	}
	return false
}

// readSlice reports false for slices that hold no addresses (FQDN).
func readSlice(from *discoveryv1.EndpointSlice) (slice, bool) {
	if from.AddressType != discoveryv1.AddressTypeIPv4 && from.AddressType != discoveryv1.AddressTypeIPv6 {
		return slice{}, false
	}
	s := slice{family: from.AddressType}
	s.service, s.labelled = serviceOf(from)
	for _, p := range from.Ports {
		// Unknown protocol means TCP, unknown port means all of them.
		if p.Port == nil || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			continue
		}
		port := Port{Number: portNumber(*p.Port)}
		if p.Name != nil {
			port.Name = *p.Name
		}
		if port.Number != 0 {
			s.ports = append(s.ports, port)
		}
	}
	for i := range from.Endpoints {
		s.endpoints = append(s.endpoints, readEndpoint(&from.Endpoints[i]))
	}
	return s, true
}

func readEndpoint(from *discoveryv1.Endpoint) endpoint {
	e := endpoint{ready: true, serving: true}
	if r := from.TargetRef; r != nil && (r.Kind == "Pod" || r.Kind == "") {
		e.uid = string(r.UID)
	}
	for _, text := range from.Addresses {
		e.addrs = addAddr(e.addrs, text)
	}
	c := from.Conditions
	if c.Ready != nil {
		e.ready = *c.Ready
	}
	if c.Serving != nil {
		e.serving = *c.Serving
	}
	if c.Terminating != nil {
		e.terminating = *c.Terminating
	}
	return e
}

func serviceOf(from *discoveryv1.EndpointSlice) (name string, labelled bool) {
	if name := from.Labels[discoveryv1.LabelServiceName]; name != "" {
		return name, true
	}
	for _, o := range from.OwnerReferences {
		if o.Kind == "Service" && o.Name != "" {
			return o.Name, false
		}
	}
	return from.Name, false
}

func (s *slice) names(who whoami) bool {
	return slices.ContainsFunc(s.endpoints, func(e endpoint) bool { return who.is(&e) })
}

// service reckons up the slices of one Service, named name.
func service(name string, of []*slice, who whoami) Service {
	sum := Service{Name: name}
	others := map[string]condition{}                                // by pod
	loose := map[discoveryv1.AddressType]map[netip.Addr]condition{} // by address, without a pod
	for _, s := range of {
		for i := range s.endpoints {
			e := &s.endpoints[i]
			switch {
			case who.is(e):
				sum.InRotation = sum.InRotation || e.ready && !e.terminating
				sum.AlwaysReady = sum.AlwaysReady || e.ready && e.terminating
				sum.Serving = sum.Serving || e.serving
			case e.uid != "":
				others[e.uid] = worst(others[e.uid], e.condition())
			case len(e.addrs) > 0:
				// One endpoint's further addresses have no meaning of their own
				// (discovery/v1, Endpoint.Addresses).
				if loose[s.family] == nil {
					loose[s.family] = map[netip.Addr]condition{}
				}
				of := loose[s.family]
				of[e.addrs[0]] = worst(of[e.addrs[0]], e.condition())
			}
		}
	}
	sum.Ready, sum.Coming = count(others)
	// Which IPv6 address belongs to which IPv4 one is not said: the family
	// with fewer that are ready is the careful guess.
	ready, coming := -1, 0
	for _, of := range loose {
		if r, c := count(of); ready < 0 || r < ready {
			ready, coming = r, c
		}
	}
	sum.Ready += max(ready, 0)
	sum.Coming += coming
	return sum
}

// condition of an endpoint that is not the pod, in the order in which one
// slice's word beats another's: a pod that one slice says terminates does so
// whatever a slice says that is still to be updated.
type condition int

const (
	unseen condition = iota
	isReady
	isComing
	isLeaving
)

func (e *endpoint) condition() condition {
	switch {
	case e.terminating:
		return isLeaving
	case e.ready && e.serving:
		return isReady
	}
	// Not ready; or published though it isn't (publishNotReadyAddresses).
	return isComing
}

func worst(a, b condition) condition { return max(a, b) }

func count[K comparable](of map[K]condition) (ready, coming int) {
	for _, c := range of {
		switch c {
		case isReady:
			ready++
		case isComing:
			coming++
		}
	}
	return ready, coming
}

func comparePorts(a, b Port) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
}
