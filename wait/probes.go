package wait

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// maxProbeConns bounds the connections that are remembered as a probe's.
	maxProbeConns = 1024
	// probeLife is how long a probe's connection may carry data: a probe's default timeout.
	probeLife = time.Second
)

// probes tells the kubelet's readiness probes, which go on until the pod is gone, from clients.
// Each probe is a new connection. Which rule applies:
//
//	connection from    | the pod's probes are known      | they are not, in a pod
//	-------------------|---------------------------------|------------------------
//	the node's address | schedule of the probes from the | rhythm of whole seconds
//	                   | node, with what follows them    |
//	loopback, the      | schedule of the probes that are | a client
//	pod's own address  | commands, each when it is due;  |
//	                   | without any, rhythm of a probe  |
//	another address    | rhythm of a probe on the port,  | a client
//	                   | if none comes from the node     |
//	nobody knows whom  | schedule: a probe is due that   | the rhythm of a node's
//	(counted only)     | has not come otherwise; rhythm  | address is due
//	                   | of a probe never seen otherwise |
//
// Other clients on the node come from the node's address, too, and sidecars and meshes call the app
// over loopback, hence the schedules: the next connection on top of the probes is a client's. CNIs
// differ in which address the node's is, and an agent in the pod may pass its own probes on, hence
// the rhythm. What no rule can tell from a probe is a client from the same place whose period is the
// probe's to within a few milliseconds, where the probe itself does not come (a command that connects
// to nothing) or the client always follows it; counted only, to within a tenth of the period.
type probes struct {
	node  []netip.Addr // known without the control plane
	nodes []netip.Addr // these, and those that it told
	pod   []netip.Addr // the pod's own
	known bool         // the pod's probes are
	inPod bool

	schedule schedule
	rhythm   rhythm
	conns    probeConns

	excused map[netip.Addr]int // probes, by address
}

func newProbes(node []netip.Addr, inPod bool) *probes {
	return &probes{
		node: node, nodes: node, inPod: inPod,
		rhythm: rhythm{peers: map[netip.Addr]*peer{}}, conns: probeConns{}, excused: map[netip.Addr]int{},
	}
}

// learn takes over what the control plane knows of the pod's probes.
func (p *probes) learn(v View) {
	if !v.PodKnown {
		return
	}
	p.known = true
	p.nodes = append(slices.Clone(p.node), v.NodeAddrs...)
	p.pod = v.PodAddrs
	scheduled := v.Probes
	if v.undeleted() {
		// Those of the container that has failed have stopped, those of the others go on (the
		// kubelet's pkg/kubelet/prober/worker.go, doProbe).
		scheduled = slices.Concat(v.Probes, v.Live)
	}
	p.schedule.learn(scheduled)
}

// origin is what the address says of a connection.
func (p *probes) origin(addr netip.Addr) origin {
	return origin{
		node:  slices.Contains(p.nodes, addr),
		local: addr.IsLoopback() || slices.Contains(p.pod, addr),
	}
}

// record takes in a connection, or a request on one that was taken in, and tells whose it is.
func (p *probes) record(a Arrival) Whose {
	addr := a.Peer.Addr()
	from := p.origin(addr)
	switch {
	case a.Count > 1:
		return ByClient
	case p.known && (from.node || from.local) && p.conns.owns(a):
		return ByProbe
	case p.known && (from.node || from.local) && a.Kind == Connection:
		return p.recordScheduled(a, from)
	case p.known && from.node:
		return ByClient
	case !addr.IsValid() && a.Kind == Connection && p.claimCounted(a):
		return ByProbe
	case p.known && !addr.IsValid():
		if !p.schedule.hasAbsent(a.Port, true, a.came()) {
			return ByClient
		}
		return p.follow(a, p.schedule.anyPeriod)
	case p.known && p.mayProbe(addr, a), !p.known && p.inPod && from.node:
		return p.follow(a, p.schedule.period)
	}
	return ByClient
}

// mayProbe reports whether a probe of the port may come from an address that is none of the node's:
// as long as none comes from there, or once the address has shown its rhythm.
func (p *probes) mayProbe(addr netip.Addr, a Arrival) bool {
	return p.schedule.hasAbsent(a.Port, false, a.came()) || p.isProber(addr) && p.schedule.isOn(a.Port)
}

// recordScheduled takes in a connection from where a known probe may come.
func (p *probes) recordScheduled(a Arrival, from origin) Whose {
	if p.schedule.claim(a.Port, from, a.At) {
		p.conns.own(a, true)
		p.excused[a.Peer.Addr()]++
		return ByProbe
	}
	n, ok := p.schedule.follow(a, from)
	switch {
	case ok && n > 0:
		p.conns.own(a, true)
		p.excused[a.Peer.Addr()] += n
		return ByProbe
	case ok:
		return Unclear
	case from.local && len(p.schedule) > 0 && !from.node && !p.schedule.hasCommands():
		return p.follow(a, p.schedule.anyPeriod)
	}
	return ByClient
}

// claimCounted takes a connection that only a counter shows for a probe that is due, if one is.
func (p *probes) claimCounted(a Arrival) (ok bool) {
	from := a.Peer.Addr()
	switch {
	case p.known:
		ok = p.schedule.claimCounted(a.Port, a.came())
	case p.inPod:
		from, ok = p.rhythm.extendCounted(a, p.nodes)
	}
	if ok {
		p.excused[from]++
	}
	return ok
}

// follow takes in what may become part of an address's rhythm.
func (p *probes) follow(a Arrival, known periods) Whose {
	if a.Kind == Request {
		if !p.conns.owns(a) {
			return ByClient
		}
		p.rhythm.followData(a)
		return p.inRhythm(a.Peer.Addr())
	}
	periods, longest := wholeSeconds, time.Duration(0)
	if p.known {
		periods, longest = known, p.schedule.longest()
	}
	n, ok := p.rhythm.follow(a, periods, longest)
	if !ok {
		return ByClient
	}
	p.conns.own(a, p.isProber(a.Peer.Addr()))
	if n > 0 {
		p.excused[a.Peer.Addr()] += n
	}
	return p.inRhythm(a.Peer.Addr())
}

// inRhythm returns ByProbe if the address has shown a probe's rhythm, else Unclear.
func (p *probes) inRhythm(addr netip.Addr) Whose {
	if p.isProber(addr) {
		return ByProbe
	}
	return Unclear
}

// isProber reports whether the address has shown a probe's rhythm.
func (p *probes) isProber(addr netip.Addr) bool {
	peer := p.rhythm.peers[addr]
	return peer != nil && peer.inRow >= rhythmic
}

// newest is the newest arrival that may turn out to be a probe's but counts until it does.
func (p *probes) newest() Arrival {
	return newer(p.rhythm.newest(), p.schedule.newest())
}

// probeConns are the connections that may be a probe's.
type probeConns map[uint64]probeConn

// probeConn is such a connection, as it came.
type probeConn struct {
	Arrival
	sure bool // it is one
}

// own remembers a connection.
func (c probeConns) own(a Arrival, sure bool) {
	if a.Conn == 0 {
		return
	}
	if len(c) >= maxProbeConns {
		for id, old := range c {
			if a.At.Sub(old.At) > probeLife {
				delete(c, id)
			}
		}
	}
	if len(c) < maxProbeConns {
		c[a.Conn] = probeConn{a, sure}
	}
}

// has reports whether the connection is surely a probe's.
func (c probeConns) has(conn uint64) bool { return c[conn].sure }

// owns reports whether a request came on one of them, and no later than a probe's would.
func (c probeConns) owns(a Arrival) bool {
	old, ok := c[a.Conn]
	return ok && a.At.Sub(old.At) <= probeLife
}
