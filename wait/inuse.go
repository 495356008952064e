package wait

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"
)

// maxInUse bounds the pinned connections that are told apart.
const maxInUse = 4096

// inUse are the pinned connections on which something came, and when last: they no longer hold the
// exit, and SIGTERM will meet them.
type inUse map[uint64]use

// use is who used a connection last, and when.
type use struct {
	from netip.Addr
	last time.Time
}

// record takes in that something came on a pinned connection.
func (u inUse) record(conn uint64, now use) {
	old, ok := u[conn]
	if ok && old.last.After(now.last) || !ok && len(u) >= maxInUse {
		return
	}
	u[conn] = now
}

// since counts those on which something came at the time or later, in all and by address.
func (u inUse) since(t time.Time) (n int, by map[netip.Addr]int) {
	by = map[netip.Addr]int{}
	for _, use := range u {
		if !use.last.Before(t) {
			n++
			by[use.from]++
		}
	}
	return n, by
}

// tally lists addresses with their counts, most first: "10.0.0.1 (3), 10.0.0.2".
func tally(by map[netip.Addr]int) string {
	addrs := slices.Collect(maps.Keys(by))
	sort.Slice(addrs, func(i, j int) bool {
		return cmp.Or(by[addrs[j]]-by[addrs[i]], addrs[i].Compare(addrs[j])) < 0
	})
	var parts []string
	for _, a := range addrs[:min(len(addrs), maxNamed)] {
		part := peerText(a)
		if by[a] > 1 {
			part += fmt.Sprintf(" (%d)", by[a])
		}
		parts = append(parts, part)
	}
	if rest := len(addrs) - maxNamed; rest > 0 {
		parts = append(parts, fmt.Sprintf("%d more", rest))
	}
	return strings.Join(parts, ", ")
}
