package procnet

import (
	"runtime"
	"testing"
	"time"
)

func TestKnown(t *testing.T) {
	k := newKnown()
	k.begin()
	if _, ok := k.mark(1, 10*time.Millisecond, 80, live, 0); ok {
		t.Error("known before it was seen")
	}
	k.sweep(0)
	k.begin()
	before, ok := k.mark(1, time.Second, 80, live, 0)
	if !ok || k.marked(before) || before.firstSeen() != openedStep || !before.live() {
		t.Errorf("seen before: %+v, %t", before, ok)
	}
	if again, _ := k.mark(1, time.Second, 80, live, 0); !k.marked(again) {
		t.Error("a repeated row is not recognised")
	}
	k.mark(2, time.Second, 81, 0, 0)
	k.sweep(0)
	if n, youngest := k.countLive(portsOf([]uint16{80, 81})); n != 1 || youngest != openedStep {
		t.Errorf("%d open, youngest %s", n, youngest)
	}

	// The remains of a connection, and then another from the same addresses.
	k.begin()
	k.mark(2, 2*time.Second, 81, live, 0)
	if s, _ := k.get(2); s.firstSeen() != 2*time.Second {
		t.Errorf("opened at %s", s.firstSeen())
	}
	k.sweep(1)
	if _, ok := k.get(1); !ok {
		t.Error("forgotten too early")
	}
	k.begin()
	k.sweep(1)
	if _, ok := k.get(1); ok {
		t.Error("not forgotten")
	}
}

// heap is how much of it is in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestKnownIsBounded(t *testing.T) {
	before := heap()
	k := newKnown()
	k.begin()
	for id := range uint64(maxKnown + 10) {
		k.mark(id+1, 0, 80, live, 0)
	}
	if len(k.conns) != maxKnown {
		t.Errorf("%d connections", len(k.conns))
	}
	took := heap() - before
	t.Logf("%d connections take %.1f MiB, %.0f bytes each", maxKnown, float64(took)/(1<<20), float64(took)/maxKnown)
	if took > 14<<20 {
		t.Error("more than the documentation says")
	}
	if _, ok := k.mark(maxKnown+5, 0, 80, live, 0); ok {
		t.Error("one that found no room is known")
	}
	if _, ok := k.mark(5, 0, 80, live, 0); !ok {
		t.Error("one that found room is not known")
	}
}
