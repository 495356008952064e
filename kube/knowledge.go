package kube

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// knowledge is what has been learned so far, and how a View follows from it. It does no input or
// output and knows no concurrency.
type knowledge struct {
	id   Identity
	only []string // Services, empty: all

	pod      podFacts
	podKnown bool
	gone     bool

	hint          string // the pod's name according to a slice that names its UID, "" if none does
	notFound      string // the name under which the pod was last looked for in vain
	namesake      bool   // a pod of that name there is, with another UID
	searchRefused bool   // pods cannot be listed, so the pod cannot be searched for by its UID

	slices      map[string]*slice // by the object's name
	held        int               // their size
	slicesKnown bool
	sought      whoami          // who was last looked for in all of them
	reread      bool            // all are to be looked at again
	named       map[string]bool // Services that have named the pod
	node        string          // the pod's, by its object or by a slice that names it
	awaits      map[string]bool // Services with no other endpoint ready, but some that may become so
	policies    map[string]bool // by Service that has been read: whether a traffic policy is Local
	assessed    map[string]assessment
	ports       map[Port]bool // of slices that have named the pod

	failures      map[op]failure
	worked        map[op]bool
	contact       time.Time
	slicesContact time.Time
	owed          owed
}

// findPod stands for finding the pod as a whole: each request of it may have succeeded.
var findPod = op{"find", "pod"}

func newKnowledge(id Identity, only []string) knowledge {
	return knowledge{
		id: id, only: slices.Compact(slices.Sorted(slices.Values(only))),
		named: map[string]bool{}, ports: map[Port]bool{}, policies: map[string]bool{}, assessed: map[string]assessment{},
		failures: map[op]failure{}, worked: map[op]bool{},
	}
}

// recordSuccess and recordFailure keep the newest outcome of each kind of request.
func (k *knowledge) recordSuccess(o op) {
	delete(k.failures, o)
	k.worked[o] = true
	k.recordAnswer()
	if o.resource == sliceResource {
		k.slicesContact = k.contact
	}
}

// recordAnswer notes that the API server has answered with success.
func (k *knowledge) recordAnswer() {
	k.contact = time.Now()
	k.owed.settle()
}

// recordFailure does not take a refusal at its word where the same has worked before: an API server
// that is just starting forbids everything to everybody.
func (k *knowledge) recordFailure(o op, err error) {
	k.keepFailure(o, explain(o, k.id.Namespace, err))
}

func (k *knowledge) keepFailure(o op, f failure) {
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

// elsewhere reports whether the pod's addresses are known and none is ours. Our host name may not
// be our pod's name, but happen to be another pod's.
func (k *knowledge) elsewhere(pod *corev1.Pod) bool {
	theirs := readPod(pod).podAddresses
	if len(theirs) == 0 || len(k.id.IPs) == 0 {
		return false
	}
	return !slices.ContainsFunc(k.id.IPs, func(a netip.Addr) bool { return slices.Contains(theirs, a) })
}

// sawPod learns from a pod that has, or had, our name, and reports whether it is us. A UID that is
// gone never comes back.
func (k *knowledge) sawPod(pod *corev1.Pod) bool {
	if !k.isPod(pod) {
		if k.podKnown && pod.Name == k.pod.name {
			k.lostPod()
		}
		return false
	}
	if k.gone && string(pod.UID) == k.pod.uid {
		return true
	}
	facts := readPod(pod)
	if facts.hostNetwork && !k.podKnown {
		// What was found by the node's address may be anybody's.
		clear(k.named)
		clear(k.ports)
	}
	k.reread = k.reread || !k.podKnown || facts.node != k.pod.node
	k.pod, k.podKnown, k.gone = facts, true, false
	delete(k.failures, findPod)
	delete(k.failures, op{"list", podResource}) // nobody has to search any more
	return true
}

// lostPod learns that the pod is no longer in the API.
func (k *knowledge) lostPod() {
	k.podKnown, k.gone = true, true
	delete(k.failures, findPod)
}

// unknownPod learns that no pod has our UID, or our name where we know no UID. Unless pods may be
// listed, nobody could be searched for by UID.
func (k *knowledge) unknownPod(mayList bool) {
	k.searchRefused = !mayList
	name, namespace, uid := k.id.Name, k.id.Namespace, k.id.UID
	from, where, check := k.id.source("uid"), "", "POD_NAMESPACE and POD_UID"
	if from != "" {
		where = " (from " + from + ")"
	}
	mounted := from != "" && from != "POD_UID"
	if mounted {
		check = "POD_NAMESPACE"
	}
	var text string
	switch {
	case uid == "":
		text = fmt.Sprintf("pod %s not found in namespace %s: set POD_NAME, or POD_UID, by the downward API", name, namespace)
	case k.namesake && mounted:
		text = fmt.Sprintf("pod %s of namespace %s has another UID than %s%s: if it is this pod, as in a virtual cluster, "+
			"set POD_UID by the downward API", name, namespace, uid, where)
	case mayList:
		text = fmt.Sprintf("no pod in namespace %s has UID %s%s: check %s", namespace, uid, where, check)
	default:
		text = fmt.Sprintf("pod %s not found in namespace %s, and without permission to list pods it cannot be searched for by its UID: "+
			"set POD_NAME by the downward API", name, namespace)
	}
	k.keepFailure(findPod, failure{refused: true, err: errors.New(text)})
}

// podName is the name to read the pod by: as the API gave it, as a slice gave it, else as the
// container knows it.
func (k *knowledge) podName() string { return cmp.Or(k.pod.name, k.hint, k.id.Name) }

// mayBeFound reports whether the search is not over although it was refused: a slice may give the
// pod's name, or has given one that nobody has tried yet.
func (k *knowledge) mayBeFound() bool {
	if k.hint != "" {
		return k.searchRefused && k.hint != k.notFound
	}
	return k.searchRefused && !k.slicesKnown && !k.slicesRefused()
}

func (k *knowledge) whoami() whoami {
	who := whoami{uid: k.pod.uid, addrs: k.pod.podAddresses, hostNetwork: k.pod.hostNetwork}
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

// sawSlices replaces all slices, sawSlice and lostSlice change one. The first two report whether
// they can be kept: slices that are too large together are not known.
func (k *knowledge) sawSlices(all map[string]*slice) bool {
	k.slices, k.held, k.slicesKnown, k.reread = all, sizeOf(all), true, true
	return k.keepsSlices()
}

func (k *knowledge) sawSlice(from *discoveryv1.EndpointSlice) bool {
	k.lostSlice(from.Name)
	s, ok := readSlice(from)
	if !ok || !k.wants(s.service) {
		return true
	}
	if k.slices == nil {
		k.slices = map[string]*slice{}
	}
	k.slices[from.Name] = &s
	k.held += s.size
	k.remember(&s, k.whoami())
	return k.keepsSlices()
}

func (k *knowledge) keepsSlices() bool {
	if k.held <= maxSlices {
		return true
	}
	k.slices, k.held, k.slicesKnown = nil, 0, false
	k.recordFailure(op{"list", sliceResource}, errTooLarge)
	return false
}

func (k *knowledge) lostSlice(name string) {
	if s := k.slices[name]; s != nil {
		k.held -= s.size
		delete(k.slices, name)
	}
}

// assess notes what has been found out of a pod, unless it has become ready meanwhile.
func (k *knowledge) assess(uid string, how prospect) {
	k.assessed[uid], k.reread = assessment{how, time.Now()}, true
}

// remember keeps what a slice said while it named the pod: a Service that drops the pod still has
// other endpoints to count, and its port stays the one on which traffic comes.
func (k *knowledge) remember(s *slice, who whoami) {
	for i := range s.endpoints {
		if e := &s.endpoints[i]; len(k.assessed) > 0 && e.condition() == isReady {
			delete(k.assessed, e.uid) // it has become ready after all
		}
	}
	e := s.find(who)
	if e == nil {
		return
	}
	if e.uid != "" && e.uid == who.uid && e.pod != "" {
		k.hint = e.pod
	}
	k.node = cmp.Or(k.pod.node, e.node, k.node)
	k.named[s.service] = true
	for _, p := range s.ports {
		k.ports[p] = true
	}
}

// rememberAll does so for all slices, where more has changed than one of them.
func (k *knowledge) rememberAll(who whoami) {
	if !k.reread && who.equal(k.sought) {
		return
	}
	k.sought, k.reread = who, false
	for _, s := range k.slices {
		k.remember(s, who)
	}
}

func (k *knowledge) view() View {
	v := View{
		PodKnown: k.podKnown, SlicesKnown: k.slicesKnown,
		Contact: k.contact, SlicesContact: k.slicesContact,
		Grace: defaultGrace, RestartGrace: defaultGrace,
	}
	k.viewPod(&v)
	who := k.whoami()
	k.rememberAll(who)
	worst := k.worstFailure()
	v.Err, v.Refused = worst.err, worst.refused
	// A pod that is nowhere to be found may be another namespace's, and so may be its slices.
	if _, lost := k.failures[findPod]; lost && len(k.named) == 0 {
		v.SlicesKnown, v.SlicesRefused = false, k.slicesKnown || k.slicesRefused()
		return v
	}
	if !k.slicesKnown {
		v.SlicesRefused = k.slicesRefused()
		return v
	}
	of := map[string][]*slice{}
	for _, s := range k.slices {
		if k.named[s.service] {
			of[s.service] = append(of[s.service], s)
		}
	}
	v.Named = slices.Sorted(maps.Keys(k.named))
	read := &reading{who: who, node: k.node, policies: k.policies, assessed: k.assessed}
	k.awaits = map[string]bool{}
	for _, name := range v.Named {
		if len(of[name]) > 0 {
			s := read.service(name, of[name])
			v.Services = append(v.Services, s)
			k.awaits[name] = s.Ready == 0 && s.Coming > 0
		}
	}
	v.Ports = slices.Collect(maps.Keys(k.ports))
	sort.Slice(v.Ports, func(i, j int) bool { return comparePorts(v.Ports[i], v.Ports[j]) < 0 })
	return v
}

func (k *knowledge) viewPod(v *View) {
	if !k.podKnown {
		return
	}
	p := &k.pod
	v.Deleting, v.Ended, v.Owner = p.deleting, p.ended, p.owner
	v.Restartable, v.HostNetwork = p.restartable, p.hostNetwork
	v.NodeAddrs, v.PodAddrs = slices.Clone(p.nodeAddrs), slices.Clone(p.podAddresses)
	v.Declared = slices.Clone(p.declared)
	v.Probes, v.Live = slices.Clone(p.probes), slices.Clone(p.live)
	if p.uid != "" {
		v.Grace, v.RestartGrace = p.grace, p.restartGrace
	}
	if k.gone {
		v.Deleting, v.Grace = true, forceGrace
	}
}

// slicesRefused reports whether waiting will not make the slices known. Without the pod it may not
// be known whom to look for in them.
func (k *knowledge) slicesRefused() bool {
	who := k.whoami()
	for o, f := range k.failures {
		if f.refused && (o.resource == sliceResource || !who.known()) {
			return true
		}
	}
	return false
}

// worstFailure prefers what stays to what may pass, then what has lasted longer: so the story has
// one reason, not all in turn.
func (k *knowledge) worstFailure() (worst failure) {
	for o, f := range k.failures {
		if o == findPod && k.mayBeFound() {
			continue
		}
		if worst.err == nil || f.refused && !worst.refused ||
			f.refused == worst.refused && f.since.Before(worst.since) {
			worst = f
		}
	}
	return worst
}
