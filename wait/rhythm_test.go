package wait

import (
	"net/netip"
	"testing"
	"time"
)

func TestRhythm(t *testing.T) {
	second := func(_ uint16, gap, _ time.Duration) (time.Duration, bool) {
		return time.Second, fits(gap, time.Second)
	}
	for name, tt := range map[string]struct {
		periods periods
		at      []int // connections, ms
		probes  int
		newest  int // ms of the newest that still counts; 0: none
	}{
		"two in a row count":                  {second, []int{200, 1200}, 0, 1200},
		"three are probes":                    {second, []int{200, 1200, 2200}, 3, 0},
		"and so is each after them":           {second, []int{200, 1200, 2200, 3210, 4150}, 5, 0},
		"something else counts":               {second, []int{200, 1200, 2200, 2700}, 3, 2700},
		"a row that breaks off counts":        {second, []int{200, 1200, 1700, 2700}, 0, 2700},
		"whole seconds":                       {wholeSeconds, []int{200, 2200, 4300}, 3, 0},
		"no whole seconds":                    {wholeSeconds, []int{200, 1700, 3200}, 0, 3200},
		"whole seconds, another the next":     {wholeSeconds, []int{200, 2200, 5200}, 0, 5200},
		"a client that comes before the row":  {second, []int{100, 200, 1200, 2200}, 3, 100},
		"and counts for as long as it was it": {second, []int{1100, 1150, 2150, 3150, 4150}, 4, 1100},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			r := rhythm{peers: map[netip.Addr]*peer{}}
			probes := 0
			for _, ms := range tt.at {
				n, ok := r.follow(Arrival{At: at(start, ms), Port: 8080, Peer: netip.MustParseAddrPort("10.0.0.1:1")}, tt.periods, 0)
				if !ok {
					t.Fatal("no room for one address")
				}
				probes += n
			}
			newest := 0
			if last := r.newest(); !last.At.IsZero() {
				newest = int(last.At.Sub(start) / time.Millisecond)
			}
			if probes != tt.probes || newest != tt.newest {
				t.Errorf("%d probes, newest that counts at %d ms, want %d and %d", probes, newest, tt.probes, tt.newest)
			}
		})
	}
}

// TestRhythmIsBounded: an address that has missed its period makes room, and what it did counts on.
func TestRhythmIsBounded(t *testing.T) {
	start := time.Now()
	r := rhythm{peers: map[netip.Addr]*peer{}}
	connect := func(i, ms int) bool {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
		_, ok := r.follow(Arrival{At: at(start, ms), Peer: from}, wholeSeconds, time.Second)
		return ok
	}
	for i := range maxPeers {
		if !connect(i, i) {
			t.Fatalf("no room for address %d", i)
		}
	}
	if connect(maxPeers, 1000) {
		t.Error("room for one more, although nobody has missed a period")
	}
	if !connect(maxPeers, 2000) || len(r.peers) != maxPeers {
		t.Errorf("no room after a period, or no bound: %d addresses", len(r.peers))
	}
	if last := r.newest(); last.At != at(start, 2000) {
		t.Errorf("the newest that counts is at %v", last.At.Sub(start))
	}
	delete(r.peers, netip.AddrFrom4([4]byte{10, 0, 1, 0}))
	if r.newest().At.IsZero() {
		t.Error("what a forgotten address did counts no longer")
	}
}
