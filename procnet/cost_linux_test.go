package procnet

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lull/testdata/markdown"
)

var update = flag.Bool("update", false, "write the generated parts of README.md anew")

// cost is what looks with one method took in one setting.
type cost struct {
	wall, cpu []time.Duration // of each round
	ratio     []float64       // of wall to the yardstick's in the same round
	allocs    uint64          // of one look
	peak      int             // KiB
}

// TestCost measures what a look costs by every method, side by side: in each round each looks once,
// so that a machine that gets slower does so for all. What is promised are ratios.
func TestCost(t *testing.T) {
	long(t)
	var columns []string
	var costs []map[string]*cost
	for _, where := range settings(t) {
		t.Run(where.String(), func(t *testing.T) {
			where.hold(t)
			columns = append(columns, where.String())
			costs = append(costs, where.measure(t))
		})
	}
	if t.Failed() || len(costs) != len(settings(t)) {
		return // a part of it was skipped, and said why
	}
	text := costTables(columns, costs)
	t.Log("\n" + text)
	for i, c := range costs {
		if r := median(c["lull, netlink"].ratio); r > 1 {
			t.Errorf("%s: a look takes %.2f times as long as %s", columns[i], r, yardstick)
		}
		// A look must not allocate for each row.
		if a, b := c["lull, netlink"].allocs, costs[0]["lull, netlink"].allocs; a > b+5 {
			t.Errorf("%s: %d allocations a look, %d in the smallest setting", columns[i], a, b)
		}
	}
	if _, err := markdown.Section("README.md", "cost", text, *update); err != nil {
		t.Error(err)
	}
}

// measure looks with all methods.
func (s setting) measure(t *testing.T) map[string]*cost {
	const rounds = 7
	costs := map[string]*cost{}
	looks := map[string]func() (int, error){}
	for _, m := range methods {
		l, err := m.open(crowdPort)
		if err != nil {
			t.Skipf("needs %s: %v", m.name, err)
		}
		defer l.close()
		looks[m.name] = l.look
		costs[m.name] = &cost{peak: m.peak(t)}
		var before, after runtime.MemStats
		for range 2 { // the first one warms up
			runtime.ReadMemStats(&before)
			n, err := l.look()
			runtime.ReadMemStats(&after)
			if err != nil || n >= 0 && n != s.mine {
				t.Fatalf("%s: %d connections, want %d: %v", m.name, n, s.mine, err)
			}
		}
		costs[m.name].allocs = after.Mallocs - before.Mallocs
	}
	for range rounds {
		for _, m := range methods {
			began, before := time.Now(), cpu(t)
			if _, err := looks[m.name](); err != nil {
				t.Fatal(err)
			}
			c := costs[m.name]
			c.wall = append(c.wall, time.Since(began))
			c.cpu = append(c.cpu, cpu(t)-before)
		}
		unit := costs[yardstick].wall
		for _, c := range costs {
			c.ratio = append(c.ratio, float64(c.wall[len(c.wall)-1])/float64(unit[len(unit)-1]))
		}
	}
	return costs
}

// cpu is what this process and those it has waited for have used.
func cpu(t testing.TB) (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

func median[T time.Duration | float64](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

// costTables prints a table for each thing that was measured.
func costTables(columns []string, costs []map[string]*cost) string {
	var b strings.Builder
	ms := func(d time.Duration) string { return fmt.Sprintf("%.*f", max(0, min(2, 2-digits(d))), d.Seconds()*1e3) }
	for _, table := range []struct {
		name string
		cell func(method, *cost) string
	}{
		{"wall time of a look, as a multiple of that of `" + yardstick + "`", func(_ method, c *cost) string { return fmt.Sprintf("%.2f", median(c.ratio)) }},
		{"wall time of a look, ms", func(_ method, c *cost) string { return ms(median(c.wall)) }},
		{"CPU time of a look, ms", func(_ method, c *cost) string { return ms(median(c.cpu)) }},
		{"allocations of a look", func(m method, c *cost) string {
			if m.argv != nil {
				return "-"
			}
			return fmt.Sprint(c.allocs)
		}},
		{"peak memory of a process that looks, MiB (a Go test program that does nothing: see the column 0)", func(_ method, c *cost) string { return fmt.Sprintf("%.1f", float64(c.peak)/1024) }},
	} {
		fmt.Fprintf(&b, "%s:\n\n| method | %s |\n|---|%s\n", strings.ToUpper(table.name[:1])+table.name[1:], strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
		for _, m := range methods {
			fmt.Fprintf(&b, "| %s |", m.name)
			for _, c := range costs {
				fmt.Fprintf(&b, " %s |", table.cell(m, c[m.name]))
			}
			b.WriteString("\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// digits is how many digits the milliseconds have before the point.
func digits(d time.Duration) (n int) {
	for ms := d.Milliseconds(); ms > 0; ms /= 10 {
		n++
	}
	return n
}
