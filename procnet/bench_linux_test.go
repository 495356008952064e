package procnet

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// The benchmarks hold PROCNET_BENCH_CONNECTIONS connections open (1000), all on
// one port. With 100,000 the process needs 200,000 files.

// crowd opens the connections and returns their port.
func crowd(b *testing.B) uint16 {
	n := 1000
	if v, err := strconv.Atoi(os.Getenv("PROCNET_BENCH_CONNECTIONS")); err == nil {
		n = v
	}
	if want := uint64(2*n + 100); want > 1000 {
		limit := syscall.Rlimit{Cur: want, Max: want}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			b.Skipf("needs %d open files: %v", want, err)
		}
	}
	l, port := listen(b, net.ListenConfig{}, "tcp4", "0.0.0.0:0")
	for i := range n {
		// 28,000 client ports to an address
		dial(b, fmt.Sprintf("127.0.0.%d", 1+i/20000), port)
		c, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
	}
	return port
}

// BenchmarkLook is a look at everything, the gate open, without the wait for
// late events.
func BenchmarkLook(b *testing.B) {
	port := crowd(b)
	s := openedNetlink(b)
	settled(b, s, port)
	ports := portsOf([]uint16{port})
	b.ReportAllocs()
	for b.Loop() {
		if err := s.connections(b.Context(), ports, func(Arrival) {}); err != nil {
			b.Fatal(err)
		}
		s.known.sweep(0)
	}
}

// BenchmarkQuietLook is a look while no segment comes.
func BenchmarkQuietLook(b *testing.B) {
	for _, which := range []string{"netlink", "proc"} {
		b.Run(which, func(b *testing.B) {
			needQuiet(b)
			port := crowd(b)
			s := open(b, which)
			until(b, "the gate shuts", func() bool {
				before := walksOf(s)
				look(b, s, port)
				return walksOf(s) == before
			})
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Arrivals(b.Context(), []uint16{port}, func(Arrival) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTables is what a look costs the source "proc" if something moved.
func BenchmarkTables(b *testing.B) {
	port := crowd(b)
	s := open(b, "proc").(*procSource)
	ports := portsOf([]uint16{port})
	b.ReportAllocs()
	for b.Loop() {
		if err := s.survey(b.Context(), &survey{ports: ports}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTick is what "proc" costs ten times a second.
func BenchmarkTick(b *testing.B) {
	s := open(b, "proc").(*procSource)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.sampler.tick(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkQueued is a dump of the listeners.
func BenchmarkQueued(b *testing.B) {
	port := crowd(b)
	s := openedNetlink(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Queued(b.Context(), []uint16{port}); err != nil {
			b.Fatal(err)
		}
	}
}
