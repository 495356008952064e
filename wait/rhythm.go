package wait

import (
	"net/netip"
	"time"
)

const (
	// maxPeers bounds the addresses whose rhythm is followed. Beyond them everybody is a client.
	maxPeers = 256
	// rhythmic is how many connections in a row, a period apart, make a rhythm.
	rhythmic = 3
)

// rhythm follows the connections of addresses that may be a prober's: once three in a row are a
// period apart they are probes. Until then, and whenever something else comes from the address,
// they count as a client's (newest).
type rhythm struct {
	peers  map[netip.Addr]*peer
	lapsed Arrival // the newest of peers that are followed no longer
}

// peer is an address that is followed.
type peer struct {
	inRow  int           // connections in a row, a period apart
	period time.Duration // between them, once there are two
	last   Arrival       // the last of the row; counts while the row is short
	data   Arrival       // the newest request on one of them, likewise
	client Arrival       // the newest that did not fit
}

// periods answers which period lies between two connections to a port; false if the gap is none. If
// one is wanted, it is that or none.
type periods func(port uint16, gap, wanted time.Duration) (time.Duration, bool)

// wholeSeconds takes any whole number of seconds for a period.
func wholeSeconds(_ uint16, gap, wanted time.Duration) (time.Duration, bool) {
	whole := gap.Round(time.Second)
	return whole, whole > 0 && fits(gap, whole) && (wanted == 0 || wanted == whole)
}

// follow takes in a connection, and returns how many more of the address are probes now. It reports
// false if there is no room to follow the address; longest is after how long without a connection
// another one makes room.
func (r *rhythm) follow(a Arrival, periods periods, longest time.Duration) (probes int, ok bool) {
	p := r.peers[a.Peer.Addr()]
	if p == nil {
		if len(r.peers) >= maxPeers && !r.evict(a.came(), longest) {
			return 0, false
		}
		p = &peer{}
		r.peers[a.Peer.Addr()] = p
	}
	return p.extend(a, periods), true
}

// followData takes in a request on a connection that was followed.
func (r *rhythm) followData(a Arrival) {
	if p := r.peers[a.Peer.Addr()]; p != nil {
		p.data = newer(p.data, a)
	}
}

// extend puts a connection at the end of the row, or begins another, and returns how many more are
// probes now.
func (p *peer) extend(a Arrival, periods periods) (probes int) {
	period, ok := time.Duration(0), false
	if p.inRow > 0 && a.Port == p.last.Port {
		wanted := time.Duration(0)
		if p.inRow > 1 {
			wanted = p.period
		}
		period, ok = periods(a.Port, a.came().Sub(p.last.came()), wanted)
	}
	switch {
	case p.inRow == 0:
		p.inRow = 1
	case ok:
		p.period = period
		p.inRow++
		switch {
		case p.inRow == rhythmic:
			probes = rhythmic
		case p.inRow > rhythmic:
			probes = 1
		}
	default:
		if p.inRow < rhythmic {
			p.client = newer(newer(p.client, p.last), p.data)
		}
		p.inRow = 1
	}
	p.last, p.data = a, newer(p.data, a)
	return probes
}

// extendCounted counts a connection that only a counter shows as the one that is due in the rhythm
// of one of the addresses, and returns that; false if none is due. Its own time is known too
// roughly for the rhythm to go by.
func (r *rhythm) extendCounted(a Arrival, addrs []netip.Addr) (netip.Addr, bool) {
	for _, addr := range addrs {
		p := r.peers[addr]
		if p == nil || p.inRow < rhythmic-1 {
			continue
		}
		due := p.last.came().Add(p.period)
		if a.came().Sub(due).Abs() > p.period/10+countedStep {
			continue
		}
		p.inRow++
		p.last.At, p.data = due, newer(p.data, a)
		return addr, true
	}
	return netip.Addr{}, false
}

// evict makes room for another peer by forgetting one that has missed its period: it is a client,
// or begins anew. It reports false if there is none, or no known period to miss.
func (r *rhythm) evict(now time.Time, longest time.Duration) bool {
	for addr, p := range r.peers {
		if longest > 0 && now.Sub(p.last.came()) > longest+longest/10 {
			r.lapsed = newer(r.lapsed, p.newest())
			delete(r.peers, addr)
			return true
		}
	}
	return false
}

// newest is the newest arrival that may turn out to be a probe's but counts until it does.
func (r *rhythm) newest() Arrival {
	last := r.lapsed
	for _, p := range r.peers {
		last = newer(last, p.newest())
	}
	return last
}

// newest is the peer's newest that counts so far.
func (p *peer) newest() Arrival {
	if p.inRow >= rhythmic {
		return p.client
	}
	return newer(newer(p.client, p.last), p.data)
}
