package wait

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// maxPeers bounds the addresses whose rhythm is followed, maxProbeConns the
	// probes' connections. Beyond them everybody is a client.
	maxPeers      = 256
	maxProbeConns = 1024
	// probeLife is how long a probe's connection may carry data: a probe's
	// default timeout.
	probeLife = time.Second
	// inARow is how many connections make a rhythm.
	inARow = 3
	// unnamedStep is how exactly the time of a connection without a peer is
	// known: only from counters, read on a tick.
	unnamedStep = 100 * time.Millisecond
	// busyKubelet is how late a probe is on a node that is short of CPU.
	busyKubelet = 250 * time.Millisecond
)

// probes tells the kubelet's readiness probes, which go on until the pod is
// gone, from clients. Each probe is a new connection.
//
// From an address of the node, as many connections a period as there are probes
// on the port are probes, the next one is a client: other clients on the node
// come from the same address. CNIs differ in which address that is, so an
// address with a probe's rhythm counts, too: three connections in a row on the
// probe's port, a period apart within 10%, and nothing else from it.
//
// A connection whose peer is unknown is a probe if it comes when one is due that
// has not come otherwise.
//
// Where the pod's probes are unknown, only the rhythm tells, only for the
// node's addresses, and any whole number of seconds is a period.
type probes struct {
	node   []netip.Addr // known without the control plane
	nodes  []netip.Addr // these, and those that it told
	known  bool
	inPod  bool
	beats  []*beat
	peers  map[netip.Addr]*peer
	conns  map[uint64]Arrival // of probes, perhaps
	lapsed Arrival            // the newest of peers that are followed no longer

	excused map[netip.Addr]int
}

// beat is the schedule of one known probe.
type beat struct {
	Probe
	next   time.Time // zero before the first
	missed bool      // a period has gone by without: its probe may come late, right before or after the next
}

// probes says whether its connections come to the port, 0 being unknown.
func (b *beat) probes(port uint16) bool { return port == 0 || b.Port == port }

// peer is an address whose rhythm is followed.
type peer struct {
	run    int // connections in a row, a period apart
	period time.Duration
	beat   Arrival // the newest of the run; counts while the run is short
	data   Arrival // the newest that came on it, likewise
	client Arrival // the newest that is off the beat
}

func newProbes(node []netip.Addr, inPod bool) *probes {
	return &probes{
		node: node, nodes: node, inPod: inPod,
		peers: map[netip.Addr]*peer{}, conns: map[uint64]Arrival{}, excused: map[netip.Addr]int{},
	}
}

// learn takes over what the control plane knows of the pod's probes.
func (p *probes) learn(v View) {
	if !v.PodKnown {
		return
	}
	p.known = true
	p.nodes = append(slices.Clone(p.node), v.NodeAddrs...)
	if slices.EqualFunc(p.beats, v.Probes, func(b *beat, q Probe) bool { return b.Probe == q }) {
		return
	}
	p.beats = nil
	for _, q := range v.Probes {
		if q.Period > 0 {
			p.beats = append(p.beats, &beat{Probe: q})
		}
	}
}

// owns says whether a request came on a connection that may be a probe's, and
// no later than a probe's would.
func (p *probes) owns(a Arrival) bool {
	c, ok := p.conns[a.Conn]
	return ok && a.At.Sub(c.At) <= probeLife
}

// excuse says whether the arrival is no client's, as far as can be told yet:
// arrivals of a run that may become a rhythm are kept in newest until it does.
func (p *probes) excuse(a Arrival) bool {
	addr := a.Peer.Addr()
	node := slices.Contains(p.nodes, addr)
	switch {
	case a.Count > 1:
		return false
	case p.known && node:
		return p.owns(a) || a.Kind == Connection && p.scheduled(a)
	case p.known && !addr.IsValid() && a.Kind == Connection && p.unnamed(a):
		return true
	case !p.known && p.inPod && !addr.IsValid() && a.Kind == Connection:
		return p.joins(a)
	case p.known && p.probed(a.Port), !p.known && p.inPod && node:
		return p.rhythm(a)
	}
	return false
}

// scheduled says whether a probe on the port is due, and if so takes it.
func (p *probes) scheduled(a Arrival) bool {
	for _, b := range p.beats {
		if b.Port == a.Port && b.take(a.At) {
			p.own(a)
			p.excused[a.Peer.Addr()]++
			return true
		}
	}
	return false
}

// take uses up the period that t lies in. The schedule keeps to the earliest
// time of the period that was seen: a probe may come late, and then the next
// one comes sooner than a period later.
func (b *beat) take(t time.Time) bool {
	if b.next.IsZero() {
		b.next = t.Add(b.Period)
		return true
	}
	if t.Before(b.next.Add(-b.slack())) {
		late := b.missed
		b.missed = false
		return late
	}
	if t.Before(b.next) {
		b.next = t
	}
	skipped := t.Sub(b.next) / b.Period
	b.missed = skipped > 0
	b.next = b.next.Add(b.Period * (1 + skipped))
	return true
}

// slack is by how much a probe may be off its schedule: a tenth of the period,
// or what a busy kubelet takes if that is more, but never a quarter.
func (b *beat) slack() time.Duration {
	return max(b.Period/10, min(b.Period/4, busyKubelet))
}

// unnamed says whether a connection of unknown peer comes on the beat of a probe
// that has shown it, and if so takes the beat.
func (p *probes) unnamed(a Arrival) bool {
	for _, b := range p.beats {
		if b.probes(a.Port) && b.on(a.came()) && b.take(a.came()) {
			p.excused[a.Peer.Addr()]++
			return true
		}
	}
	return false
}

// on says whether t is when a probe is due.
func (b *beat) on(t time.Time) bool {
	late := t.Sub(b.next)
	return !b.next.IsZero() && (late-late.Round(b.Period)).Abs() <= b.slack()+unnamedStep
}

// probed says whether there are probes on the port, 0 being any.
func (p *probes) probed(port uint16) bool {
	return slices.ContainsFunc(p.beats, func(b *beat) bool { return b.probes(port) })
}

// rhythm follows the connections of one address. It reports false if it can't.
func (p *probes) rhythm(a Arrival) bool {
	addr := a.Peer.Addr()
	r, ok := p.peers[addr]
	if !ok {
		if len(p.peers) >= maxPeers && !p.evict(a.came()) {
			return false
		}
		r = &peer{}
		p.peers[addr] = r
	}
	if a.Kind == Request {
		if !p.owns(a) {
			return false
		}
		r.data = newer(r.data, a)
		return true
	}
	p.own(a)
	period, fits := p.period(a, r)
	switch {
	case r.run == 0:
	case fits:
		r.period = period
		r.run++
		if r.run == inARow {
			p.excused[addr] += inARow - 1
		}
		if r.run >= inARow {
			p.excused[addr]++
		}
		r.beat, r.data = a, newer(r.data, a)
		return true
	case r.run < inARow:
		r.client = newer(newer(r.client, r.beat), r.data)
	}
	r.run, r.beat, r.data = 1, a, newer(r.data, a)
	return true
}

// evict makes room for another peer: one that has missed its beat is a client, or
// begins anew. It reports false if there is none.
func (p *probes) evict(now time.Time) bool {
	if !p.known {
		return false
	}
	var longest time.Duration
	for _, b := range p.beats {
		longest = max(longest, b.Period)
	}
	for addr, r := range p.peers {
		if now.Sub(r.beat.came()) > longest+longest/10 {
			p.lapsed = newer(p.lapsed, r.newest())
			delete(p.peers, addr)
			return true
		}
	}
	return false
}

// joins says whether a connection of unknown peer is the one that is due in the
// rhythm of a node's address, and if so counts it there. Its own time is known
// too roughly for the rhythm to go by.
func (p *probes) joins(a Arrival) bool {
	for _, addr := range p.nodes {
		r, ok := p.peers[addr]
		if !ok || r.run < inARow-1 {
			continue
		}
		due := r.beat.came().Add(r.period)
		if a.came().Sub(due).Abs() > r.period/10+unnamedStep {
			continue
		}
		p.excused[addr]++
		r.run++
		r.beat.At, r.data = due, newer(r.data, a)
		return true
	}
	return false
}

// period is the probe's period that lies between the peer's last connection and
// this one.
func (p *probes) period(a Arrival, r *peer) (time.Duration, bool) {
	gap := a.came().Sub(r.beat.came())
	near := func(period time.Duration) bool {
		return (gap-period).Abs() <= period/10 && (r.run < 2 || period == r.period)
	}
	if r.run == 0 || a.Port != r.beat.Port {
		return 0, false
	}
	if !p.known {
		whole := gap.Round(time.Second)
		return whole, whole > 0 && near(whole)
	}
	for _, b := range p.beats {
		if b.probes(a.Port) && near(b.Period) {
			return b.Period, true
		}
	}
	return 0, false
}

// own remembers a connection that may be a probe's.
func (p *probes) own(a Arrival) {
	if a.Conn == 0 {
		return
	}
	if len(p.conns) >= maxProbeConns {
		for id, c := range p.conns {
			if a.At.Sub(c.At) > probeLife {
				delete(p.conns, id)
			}
		}
	}
	if len(p.conns) < maxProbeConns {
		p.conns[a.Conn] = a
	}
}

// newest is the newest arrival that may turn out to be a probe's but counts
// until it does.
func (p *probes) newest() Arrival {
	last := p.lapsed
	for _, r := range p.peers {
		last = newer(last, r.newest())
	}
	return last
}

// newest is the peer's newest that counts so far.
func (r *peer) newest() Arrival {
	if r.run >= inARow {
		return r.client
	}
	return newer(newer(r.client, r.beat), r.data)
}
