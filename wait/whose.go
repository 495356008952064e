package wait

import (
	"fmt"
	"net/netip"
)

// Whose says who made an arrival, as far as can be told.
type Whose int

// A connection that is Unclear may be one of a probe's that has not shown its period yet. It counts
// as a client's until it has.
const (
	ByClient Whose = iota
	ByProbe
	Unclear
)

func (w Whose) String() string { return [...]string{"client", "probe", "unclear"}[w] }

// ProbeRules tell readiness probes from clients by a Policy's rules, for who only watches.
type ProbeRules struct{ probes *probes }

// NewProbeRules begins with what is known without the control plane: addresses of the node, and
// whether there is a pod that may be probed.
func NewProbeRules(node []netip.Addr, inPod bool) *ProbeRules {
	return &ProbeRules{newProbes(node, inPod)}
}

// Learn takes over what the control plane knows of the pod's probes.
func (r *ProbeRules) Learn(v View) { r.probes.learn(v) }

// Record takes in an arrival, and returns whose it is, and why, "" where that needs no word. The
// rules go by periods, so it wants arrivals in their order.
func (r *ProbeRules) Record(a Arrival) (Whose, string) {
	if a.Kind != Connection && a.Kind != Request {
		return ByClient, ""
	}
	p := r.probes
	whose, from := p.record(a), p.origin(a.Peer.Addr())
	switch {
	case whose == ByClient && p.known && len(p.schedule) > 0 && from.node:
		return ByClient, "it comes from the node, on top of the pod's probes"
	case whose == ByClient, whose == Unclear && !from.node && !from.local:
		return ByClient, "" // from anywhere else, a probe is an exception
	case whose == Unclear && p.keepsNone(a.Peer.Addr()):
		return ByClient, "it comes from the node, but keeps no period"
	case whose == Unclear:
		return Unclear, "it may be a probe that has not shown its period yet"
	case a.Kind == Request:
		return ByProbe, "on a probe's connection"
	case p.isProber(a.Peer.Addr()):
		return ByProbe, fmt.Sprintf("one every %s from this address", secs(p.rhythm.peers[a.Peer.Addr()].period))
	case from.node:
		return ByProbe, "one of the pod's was due, and it comes from the node"
	case from.local:
		return ByProbe, "one of the pod's was due, and it comes from the pod"
	}
	return ByProbe, "one was due"
}

// keepsNone reports whether the address's newest connection is in no row with those before it,
// which were no probes either.
func (p *probes) keepsNone(addr netip.Addr) bool {
	peer := p.rhythm.peers[addr]
	return peer != nil && peer.inRow == 1 && !peer.client.At.IsZero()
}
