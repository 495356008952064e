package procnet

import (
	"iter"
	"math/bits"
	"net/netip"
	"slices"
)

// portSet is a set of TCP ports: one bit each, 8 KiB, whatever their number.
type portSet struct {
	bits [1 << 16 / 64]uint64
	n    int
}

var noPorts portSet // stays empty

func portsOf(ports []uint16) *portSet {
	s := new(portSet)
	for _, p := range ports {
		s.add(p)
	}
	return s
}

func (s *portSet) has(p uint16) bool { return s.bits[p/64]&(1<<(p%64)) != 0 }

// add adds p, and reports whether it is new.
func (s *portSet) add(p uint16) bool {
	if s.has(p) {
		return false
	}
	s.bits[p/64] |= 1 << (p % 64)
	s.n++
	return true
}

// list is the set in ascending order, nil if it has more than limit members.
func (s *portSet) list(limit int) []uint16 {
	if s.n > limit {
		return nil
	}
	return slices.AppendSeq(make([]uint16, 0, s.n), s.without(&noPorts))
}

// without yields the ports that are not in o, in ascending order.
func (s *portSet) without(o *portSet) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i, word := range s.bits {
			for word &^= o.bits[i]; word != 0; word &= word - 1 {
				if !yield(uint16(i*64 + bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

// listening remembers the ports that were ever seen with a listener.
type listening struct {
	all       portSet
	reachable portSet // those not bound to loopback alone
}

// add records a listener and reports whether its port is new.
func (l *listening) add(port uint16, addr netip.Addr) bool {
	isNew := l.all.add(port)
	if !addr.IsLoopback() {
		isNew = l.reachable.add(port) || isNew
	}
	return isNew
}

// watched is the set that a caller means by ports.
func (l *listening) watched(ports []uint16) *portSet {
	if len(ports) == 0 {
		reachable := l.reachable
		return &reachable
	}
	return portsOf(ports)
}
