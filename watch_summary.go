package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"lull/wait"
)

const (
	// maxClients bounds the addresses whose arrivals are counted apart.
	maxClients = 4096
	// busiest is how many of them the summary names.
	busiest = 3
)

// seen counts what lull watch has told, for its last line.
type seen struct {
	since time.Time

	connections, requests, others, probes int
	clients                               map[netip.Addr]int
}

// record counts an arrival.
func (s *seen) record(a wait.Arrival, whose wait.Whose) {
	n := a.Count
	switch {
	case whose == wait.ByProbe:
		if a.Kind == wait.Connection {
			s.probes += n
		}
		return
	case a.Kind == wait.Connection:
		s.connections += n
	case a.Kind == wait.Request:
		s.requests += n
	default:
		s.others += n
	}
	from := a.Peer.Addr()
	if _, ok := s.clients[from]; !ok && len(s.clients) >= maxClients {
		from = netip.Addr{}
	}
	s.clients[from] += n
}

// summary is the last line.
func (w *watcher) summary() {
	s, took := &w.seen, time.Since(w.seen.since)
	parts := []string{counted(s.connections, "new connection"), counted(s.requests, "request")}
	if s.others > 0 {
		parts = append(parts, counted(s.others, "other"))
	}
	line := fmt.Sprintf("watched for %s: %s from %s", shortly(took), strings.Join(parts, ", "), counted(len(s.clients), "client"))
	if list := s.busiest(); list != "" {
		line += " (" + list + ")"
	}
	line += ", and " + counted(s.probes, "probe")
	w.log.Info(line, "event", "summary", "for_s", took.Round(time.Millisecond).Seconds(), "connections", s.connections, "requests", s.requests,
		"others", s.others, "clients", len(s.clients), "probes", s.probes)
}

// busiest names the clients from whom most has come.
func (s *seen) busiest() string {
	var names []string
	addrs := slices.Collect(maps.Keys(s.clients))
	sort.Slice(addrs, func(i, j int) bool {
		return cmp.Or(cmp.Compare(s.clients[addrs[j]], s.clients[addrs[i]]), addrs[i].Compare(addrs[j])) < 0
	})
	for _, a := range addrs[:min(busiest, len(addrs))] {
		name := "unknown"
		if a.IsValid() {
			name = a.String()
		}
		names = append(names, fmt.Sprintf("%s: %d", name, s.clients[a]))
	}
	if n := len(addrs) - busiest; n > 0 {
		names = append(names, fmt.Sprintf("%d others", n))
	}
	return strings.Join(names, ", ")
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
