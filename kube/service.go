package kube

import (
	"net/netip"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// reading is what has to be known to make sense of a Service's slices.
type reading struct {
	who      whoami
	node     string                // the pod's node, "" while it is not known
	policies map[string]bool       // by Service: whether its internalTrafficPolicy is Local
	assessed map[string]assessment // pods that are not ready, by UID
}

// service adds up the slices of one Service.
func (r *reading) service(name string, of []*slice) Service {
	sum := Service{Name: name}
	managed := false // one of the slices that have the pod in rotation
	for _, s := range of {
		if s.find(r.who) != nil {
			sum.Headless = sum.Headless || s.headless
			sum.Unwatched = append(sum.Unwatched, s.unwatched...)
		}
		for i := range s.endpoints {
			e := &s.endpoints[i]
			if !r.who.is(e) {
				continue
			}
			listed := e.ready && !e.terminating
			sum.InRotation = sum.InRotation || listed
			managed = managed || listed && s.managed
			sum.AlwaysReady = sum.AlwaysReady || e.ready && e.terminating
			sum.Serving = sum.Serving || e.serving
		}
	}
	sum.Unmanaged = sum.InRotation && !managed
	slices.Sort(sum.Unwatched)
	sum.Unwatched = slices.Compact(sum.Unwatched)
	everywhere := r.countOthers(of, "")
	here := r.countOthers(of, r.node)
	local, known := r.policies[name]
	sum.Local = local && r.node != ""
	sum.LocalUnknown = (!known || local && r.node == "") && (r.node == "" || here != everywhere)
	counted := everywhere
	if sum.Local {
		counted = here
	}
	sum.Ready, sum.Coming, sum.StandBy, sum.Steady = counted.ready, counted.coming, counted.standBy, counted.steady
	return sum
}

// others counts endpoints that are not the pod.
type others struct{ ready, coming, standBy, steady int }

// countOthers counts by pod where an endpoint names one, else by address. With a node it leaves out
// what is elsewhere.
func (r *reading) countOthers(of []*slice, node string) (sum others) {
	pods := map[string]condition{}
	loose := map[discoveryv1.AddressType]map[netip.Addr]condition{}
	for _, s := range of {
		for i := range s.endpoints {
			e := &s.endpoints[i]
			if r.who.is(e) || node != "" && e.node != node {
				continue
			}
			if e.uid != "" {
				pods[e.uid] = worst(pods[e.uid], e.condition())
				continue
			}
			if len(e.addrs) == 0 {
				continue
			}
			// One endpoint's further addresses have no meaning of their own (discovery/v1,
			// Endpoint.Addresses).
			if loose[s.family] == nil {
				loose[s.family] = map[netip.Addr]condition{}
			}
			of := loose[s.family]
			of[e.addrs[0]] = worst(of[e.addrs[0]], e.condition())
		}
	}
	for uid, c := range pods {
		switch {
		case c != isComing:
		case r.assessed[uid].prospect == steady:
			pods[uid] = isSteady
		case r.assessed[uid].prospect == failing:
			pods[uid] = isFailing
		}
	}
	sum = count(pods)
	// Which IPv6 address belongs to which IPv4 one is not said: the family with fewer that are
	// ready is the careful guess.
	var fewest *others
	for _, of := range loose {
		if n := count(of); fewest == nil || n.ready < fewest.ready {
			fewest = &n
		}
	}
	if fewest != nil {
		sum.ready += fewest.ready
		sum.coming += fewest.coming
	}
	return sum
}

// condition of an endpoint that is not the pod, in the order in which one slice's word beats
// another's: a pod that one slice says terminates does so whatever a slice says that is still to be
// updated.
type condition int

const (
	unlisted condition = iota
	isReady
	isComing
	isSteady
	isFailing
	isLeaving
)

func (e *endpoint) condition() condition {
	switch {
	case e.terminating:
		return isLeaving
	case e.ready && e.serving:
		return isReady
	}
	// Not ready; or published though it is not (publishNotReadyAddresses).
	return isComing
}

func worst(a, b condition) condition { return max(a, b) }

func count[K comparable](of map[K]condition) (sum others) {
	for _, c := range of {
		switch c {
		case isReady:
			sum.ready++
		case isComing:
			sum.coming++
		case isSteady:
			sum.standBy++
			sum.steady++
		case isFailing:
			sum.standBy++
		}
	}
	return sum
}
