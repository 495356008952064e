package kube

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// knowledge is what has been learned so far, and how a View follows from it.
// It does no input or output and knows no concurrency.
type knowledge struct {
	id   Identity
	only []string // Services, empty: all

	pod      podFacts
	podKnown bool
	gone     bool

	slices      map[string]*slice // by the object's name
	slicesKnown bool
	named       map[string]bool // Services that have named the pod
	ports       map[Port]bool   // of slices that have named the pod

	failures map[op]failure
	worked   map[op]bool
	contact  time.Time
}

// findPod stands for the search as a whole, that no single request fails.
var findPod = op{"find", "pod"}

func newKnowledge(id Identity, only []string) knowledge {
	return knowledge{
		id: id, only: slices.Clone(only),
		named: map[string]bool{}, ports: map[Port]bool{},
		failures: map[op]failure{}, worked: map[op]bool{},
	}
}

// succeeded and failed keep the newest outcome of each kind of request.
func (k *knowledge) succeeded(o op) {
	delete(k.failures, o)
	k.worked[o] = true
	k.contact = time.Now()
}

// failed does not take a refusal at its word where the same has worked before:
// an API server that is just starting forbids everything to everybody.
func (k *knowledge) failed(o op, err error) {
	k.fails(o, explain(o, k.id.Namespace, err))
}

func (k *knowledge) fails(o op, f failure) {
	f.refused = f.refused && !k.worked[o]
	f.since = time.Now()
	if old, ok := k.failures[o]; ok {
		f.since = old.since
	}
	k.failures[o] = f
}

// isPod reports whether a pod of the API is the one that we are.
func (k *knowledge) isPod(pod *corev1.Pod) bool {
	uid := string(pod.UID)
	switch {
	case k.id.UID != "" && (uid == k.id.UID || pod.Annotations[configHash] == k.id.UID):
		return true
	case k.pod.uid != "":
		return uid == k.pod.uid
	case k.id.UID != "":
		return false
	}
	return pod.Name == k.id.Name && !k.elsewhere(pod)
}

// elsewhere: the pod has addresses, and ours are others. A host name that is no
// pod's name may still be another pod's.
func (k *knowledge) elsewhere(pod *corev1.Pod) bool {
	theirs := readPod(pod).podAddresses
	if len(theirs) == 0 || len(k.id.IPs) == 0 {
		return false
	}
	return !slices.ContainsFunc(k.id.IPs, func(a netip.Addr) bool { return slices.Contains(theirs, a) })
}

// sawPod learns from a pod that has, or had, our name, and reports whether it
// is us. A request and a watch can overtake each other, so that the older of two
// states is dropped; and a UID that is gone never comes back.
func (k *knowledge) sawPod(pod *corev1.Pod) bool {
	if !k.isPod(pod) {
		if k.podKnown && pod.Name == k.pod.name {
			k.lostPod()
		}
		return false
	}
	if string(pod.UID) == k.pod.uid {
		older, err := resourceversion.CompareResourceVersion(pod.ResourceVersion, k.pod.version)
		if k.gone || err == nil && older < 0 {
			return true
		}
	}
	k.pod, k.podKnown, k.gone = readPod(pod), true, false
	delete(k.failures, findPod)
	return true
}

// lostPod: the pod is no longer in the API.
func (k *knowledge) lostPod() {
	k.podKnown, k.gone = true, true
	delete(k.failures, findPod)
}

// unknownPod: nobody there has our UID, or our name where we know no UID.
func (k *knowledge) unknownPod() {
	err := fmt.Errorf("pod %s not found in namespace %s: set POD_NAME, or POD_UID, by the downward API", k.id.Name, k.id.Namespace)
	if k.id.UID != "" {
		err = fmt.Errorf("no pod in namespace %s has UID %s: check POD_NAMESPACE and POD_UID", k.id.Namespace, k.id.UID)
	}
	k.fails(findPod, failure{refused: true, err: err})
}

func (k *knowledge) whoami() whoami {
	who := whoami{uid: k.pod.uid, addrs: k.pod.podAddresses}
	// A manifest's hash is no UID that a slice could name.
	if who.uid == "" && strings.Contains(k.id.UID, "-") {
		who.uid = k.id.UID
	}
	if len(who.addrs) == 0 {
		who.addrs = k.id.IPs
	}
	return who
}

// wants reports whether the user asked about the Service.
func (k *knowledge) wants(service string) bool {
	return len(k.only) == 0 || slices.Contains(k.only, service)
}

// sawSlices replaces all slices, sawSlice and lostSlice change one.
func (k *knowledge) sawSlices(all []*discoveryv1.EndpointSlice) {
	k.slices, k.slicesKnown = map[string]*slice{}, true
	for _, s := range all {
		k.sawSlice(s)
	}
}

func (k *knowledge) sawSlice(from *discoveryv1.EndpointSlice) {
	if k.slices == nil {
		k.slices = map[string]*slice{}
	}
	s, ok := readSlice(from)
	if !ok || !k.wants(s.service) {
		delete(k.slices, from.Name)
		return
	}
	k.slices[from.Name] = &s
}

func (k *knowledge) lostSlice(name string) { delete(k.slices, name) }

// remember keeps what a slice said while it named the pod: a Service that
// drops the pod still has other endpoints to count, and its port stays the one
// on which traffic comes.
func (k *knowledge) remember(who whoami) {
	for _, s := range k.slices {
		if s.names(who) {
			k.named[s.service] = true
			for _, p := range s.ports {
				k.ports[p] = true
			}
		}
	}
}

func (k *knowledge) view() View {
	v := View{
		Known:    k.podKnown && k.slicesKnown,
		PodKnown: k.podKnown, SlicesKnown: k.slicesKnown,
		Contact: k.contact,
		Grace:   defaultGrace, SpecGrace: defaultGrace,
	}
	worst := k.worstFailure()
	v.Err, v.Refused = worst.err, worst.refused
	k.viewPod(&v)
	who := k.whoami()
	k.remember(who)
	// A pod that is nowhere to be found may be another namespace's, and so may
	// be its slices.
	if _, lost := k.failures[findPod]; lost && len(k.named) == 0 {
		v.SlicesKnown, v.SlicesRefused = false, true
		return v
	}
	if !k.slicesKnown {
		v.SlicesRefused = k.slicesRefused()
		return v
	}
	of := map[string][]*slice{}
	for _, name := range slices.Sorted(maps.Keys(k.slices)) {
		s := k.slices[name]
		of[s.service] = append(of[s.service], s)
	}
	for _, name := range slices.Sorted(maps.Keys(k.named)) {
		if len(of[name]) > 0 {
			v.Services = append(v.Services, service(name, of[name], who))
		}
	}
	v.Ports = slices.SortedFunc(maps.Keys(k.ports), comparePorts)
	return v
}

func (k *knowledge) viewPod(v *View) {
	if !k.podKnown {
		return
	}
	p := &k.pod
	v.Name, v.UID = p.name, p.uid
	v.Deleting, v.Ended, v.Disrupted = p.deleting, p.ended, p.disrupted
	v.HostNetwork = p.hostNetwork
	v.NodeAddrs, v.PodAddrs = slices.Clone(p.nodeAddrs), slices.Clone(p.podAddresses)
	v.Probes = slices.Clone(p.probes)
	if p.uid != "" {
		v.Grace, v.SpecGrace = p.grace, p.specGrace
	}
	if k.gone {
		v.Deleting, v.Gone, v.Grace = true, true, forceGrace
	}
}

// slicesRefused: without the pod it may not be known whom to look for in them.
func (k *knowledge) slicesRefused() bool {
	who := k.whoami()
	for o, f := range k.failures {
		if f.refused && (o.resource == sliceResource || !who.known()) {
			return true
		}
	}
	return false
}

// worstFailure prefers what stays to what may pass, then what has lasted longer:
// so the story has one reason, not all in turn.
func (k *knowledge) worstFailure() (worst failure) {
	for _, f := range k.failures {
		if worst.err == nil || f.refused && !worst.refused ||
			f.refused == worst.refused && f.since.Before(worst.since) {
			worst = f
		}
	}
	return worst
}
