package faults

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"lull/testdata/ownnet"
)

var update = flag.Bool("update", false, "write the tables of README.md anew")

// TestMain runs many hooks at once: they wait most of the time.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	os.Exit(ownnet.Run(func() int {
		code := m.Run()
		if path, err := lull(); err == nil {
			os.RemoveAll(filepath.Dir(path))
		}
		if counts.hooks > 0 {
			fmt.Printf("%d hooks: %d early, %d late; run again because the machine was busy: %d\n", counts.hooks, counts.early, counts.late, counts.again)
		}
		if counts.hooks >= 20 && counts.again > counts.hooks/4 {
			fmt.Println("FAIL: so many that are late cannot be the machine's doing")
			code = max(code, 1)
		}
		return code
	}))
}

// group is a list of faults, a table in README.md.
type group struct {
	name   string
	faults []fault
}

func (g group) test(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: hooks in real time")
	}
	t.Parallel()
	for _, f := range g.faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.try(t)
		})
	}
}
