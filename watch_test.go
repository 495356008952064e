package main

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"lull/wait"
)

// shownSockets show the same at each look.
type shownSockets struct {
	wait.Sockets
	arrivals []wait.Arrival
}

func (s shownSockets) Arrivals(_ context.Context, _ []uint16, yield func(wait.Arrival), _ func(wait.Conn)) (bool, error) {
	for _, a := range s.arrivals {
		yield(a)
	}
	return true, nil
}

// A connection that one look shows half open and then complete is told once. Those whose sockets
// have no number stay as many as they are.
func TestWatchHalfOpen(t *testing.T) {
	t.Parallel()
	peer, start := netip.MustParseAddrPort("10.0.0.7:4711"), time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	shown := []wait.Arrival{
		{At: at(20), Kind: wait.Connection, Conn: 7, Port: 8080, Peer: peer},
		{At: at(10), Kind: wait.Connection, Conn: 7, Port: 8080, Peer: peer},
		{At: at(30), Kind: wait.Request, Conn: 7, Port: 8080, Peer: peer},
		{At: at(15), Kind: wait.Connection, Conn: 8, Port: 8080, Peer: peer},
		{At: at(5), Kind: wait.Connection, Port: 8080},
		{At: at(6), Kind: wait.Connection, Port: 8080},
	}
	w := newWatcher(slog.New(slog.DiscardHandler), wait.Policy{}, controlPlane{}, openSockets{Sockets: shownSockets{arrivals: shown}})
	all, more, err := w.arrivals(t.Context())
	if err != nil || more != 0 {
		t.Fatalf("%d more, %v", more, err)
	}
	want := []int{5, 6, 15, 20, 30}
	if len(all) != len(want) {
		t.Fatalf("%v", all)
	}
	for i, ms := range want {
		if !all[i].At.Equal(at(ms)) {
			t.Errorf("arrival %d: %v, want the one at %d ms", i, all[i], ms)
		}
	}
}
