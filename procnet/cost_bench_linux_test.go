package procnet

import (
	"testing"
	"time"
)

// The benchmarks take PROCNET_SIZES connections, such as 0,1000,10000,100000: all
// on the watched port, and again 1 in 100. TestCost prints the same as a table.

// BenchmarkLook is a look after traffic, by every method.
func BenchmarkLook(b *testing.B) {
	for _, where := range settings(b) {
		b.Run(where.String(), func(b *testing.B) {
			where.hold(b)
			for _, m := range methods {
				b.Run(m.name, func(b *testing.B) {
					l, err := m.open(crowdPort)
					if err != nil {
						b.Skip("needs ", m.name, ": ", err)
					}
					defer l.close()
					b.ReportAllocs()
					before, looks := cpu(b), 0
					for b.Loop() {
						looks++
						if _, err := l.look(); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(cpu(b)-before)/float64(looks), "cpu-ns/op")
				})
			}
		})
	}
}

// BenchmarkQuietLook is a look of proc while no segment comes.
func BenchmarkQuietLook(b *testing.B) {
	for _, where := range settings(b) {
		b.Run(where.String(), func(b *testing.B) {
			where.hold(b)
			s := open(b, "proc")
			until(b, "a look without a pass", func() bool {
				before := walksOf(s)
				look(b, s, crowdPort)
				return walksOf(s) == before
			})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Arrivals(b.Context(), []uint16{crowdPort}, func(Arrival) {}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTick is what "proc" costs ten times a second, while nothing comes and while
// something does.
func BenchmarkTick(b *testing.B) {
	for _, traffic := range []bool{false, true} {
		b.Run(map[bool]string{false: "idle", true: "busy"}[traffic], func(b *testing.B) {
			s := open(b, "proc").(*procSource)
			b.ReportAllocs()
			for b.Loop() {
				if traffic { // as if InSegs had been another at the last tick
					s.sampler.mu.Lock()
					s.sampler.last.segs--
					s.sampler.mu.Unlock()
				}
				if _, err := s.sampler.tick(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkQueued is a dump of the listeners.
func BenchmarkQueued(b *testing.B) {
	for _, where := range settings(b) {
		b.Run(where.String(), func(b *testing.B) {
			where.hold(b)
			s := openedNetlink(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Queued(b.Context(), []uint16{crowdPort}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEvent is what the end of a connection on a watched port costs.
func BenchmarkEvent(b *testing.B) {
	var e events
	r := row{state: 7, family: familyInet, sport: 80, dport: 4000, dst: [16]byte{10, 0, 0, 1}, hasAge: true}
	var spare []destroyed
	b.ReportAllocs()
	for b.Loop() {
		r.cookie++
		e.add(&r, time.Second)
		if r.cookie%1000 == 0 {
			spare = e.take(spare).list
		}
	}
}
