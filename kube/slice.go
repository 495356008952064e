package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// endpointController is who keeps the slices of ordinary Services up to date
// (pkg/controller/endpointslice/endpointslice_controller.go, ControllerName).
const endpointController = "endpointslice-controller.k8s.io"

// slice is what counts of an EndpointSlice: a tenth of the object.
type slice struct {
	size      int // in memory, or so
	service   string
	labelled  bool // service comes from the label by which a watch can be narrowed
	managed   bool // by the endpoint controller
	headless  bool
	family    discoveryv1.AddressType
	ports     []Port
	unwatched []string // ports that are not TCP
	endpoints []endpoint
}

type endpoint struct {
	other bool   // what stands behind it is known, and is not a pod
	uid   string // of the pod, "" if the endpoint names none
	pod   string // its name, "" if the endpoint names none
	node  string // "" if the endpoint names none
	addrs []netip.Addr
	// The conditions, with what the API says of unknown ones (discovery/v1, EndpointConditions):
	// ready and serving count as true, terminating as false.
	ready, serving, terminating bool
}

// whoami is how the pod is found among endpoints.
type whoami struct {
	uid         string
	addrs       []netip.Addr
	hostNetwork bool // the addresses are the node's, and tell nothing
}

func (w whoami) known() bool { return w.uid != "" || len(w.addrs) > 0 && !w.hostNetwork }

func (w whoami) equal(o whoami) bool {
	return w.uid == o.uid && w.hostNetwork == o.hostNetwork && slices.Equal(w.addrs, o.addrs)
}

// is reports whether e is the pod: by UID where both have one, else by an address that is the pod's
// alone. A node, say, may have the pod's address, but is not the pod.
func (w whoami) is(e *endpoint) bool {
	switch {
	case e.other:
		return false
	case e.uid != "" && w.uid != "":
		return e.uid == w.uid
	case w.hostNetwork:
		return false
	}
	for _, a := range e.addrs {
		if slices.Contains(w.addrs, a) {
			return true
		}
	}
	return false
}

// endpointSize is what an endpoint takes beside its names.
const endpointSize = 200

// readSlice reports false for slices that hold no addresses (FQDN).
func readSlice(from *discoveryv1.EndpointSlice) (slice, bool) {
	if from.AddressType != discoveryv1.AddressTypeIPv4 && from.AddressType != discoveryv1.AddressTypeIPv6 {
		return slice{}, false
	}
	s := slice{size: from.Size() + endpointSize*len(from.Endpoints), family: from.AddressType}
	s.service, s.labelled = serviceOf(from)
	s.managed = from.Labels[discoveryv1.LabelManagedBy] == endpointController
	_, s.headless = from.Labels[corev1.IsHeadlessService]
	for i := range from.Ports {
		s.addPort(&from.Ports[i])
	}
	for i := range from.Endpoints {
		s.endpoints = append(s.endpoints, readEndpoint(&from.Endpoints[i]))
	}
	return s, true
}

// take reads the slices of a page that the user asked about into what has been read so far. All that
// it leaves of the page is their names. The error is errTooLarge.
func (k *knowledge) take(page *discoveryv1.EndpointSliceList, read map[string]*slice) error {
	for i := range page.Items {
		from := &page.Items[i]
		if s, ok := readSlice(from); ok && k.wants(s.service) {
			read[from.Name] = &s
		}
		*from = discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: from.Name}}
	}
	if sizeOf(read) > maxSlices {
		return errTooLarge
	}
	return nil
}

func sizeOf(all map[string]*slice) (size int) {
	for _, s := range all {
		size += s.size
	}
	return size
}

func (s *slice) addPort(from *discoveryv1.EndpointPort) {
	// An unknown protocol means TCP, an unknown port all of them.
	if from.Port == nil || portNumber(*from.Port) == 0 {
		return
	}
	port := Port{Number: portNumber(*from.Port)}
	if from.Name != nil {
		port.Name = *from.Name
	}
	if from.Protocol == nil || *from.Protocol == corev1.ProtocolTCP {
		s.ports = append(s.ports, port)
		return
	}
	text := fmt.Sprintf("%d/%s", port.Number, *from.Protocol)
	if port.Name != "" {
		text += " (" + port.Name + ")"
	}
	s.unwatched = append(s.unwatched, oneLine(text))
}

func readEndpoint(from *discoveryv1.Endpoint) endpoint {
	e := endpoint{ready: true, serving: true}
	if from.NodeName != nil {
		e.node = *from.NodeName
	}
	if r := from.TargetRef; r != nil {
		e.other = r.Kind != "Pod" && r.Kind != ""
		if !e.other {
			e.uid = string(r.UID)
		}
		// The name goes into a request's path.
		if !e.other && validation.IsDNS1123Subdomain(r.Name) == nil {
			e.pod = r.Name
		}
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

// find returns the pod's endpoint, nil if the slice does not name the pod.
func (s *slice) find(who whoami) *endpoint {
	for i := range s.endpoints {
		if e := &s.endpoints[i]; who.is(e) {
			return e
		}
	}
	return nil
}

func comparePorts(a, b Port) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
}
