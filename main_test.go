package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lull/testdata/ownnet"
)

var update = flag.Bool("update", false, "write the generated parts of the READMEs anew")

// atOnce is how many parallel tests run at a time unless -parallel says otherwise. They wait for
// timers most of the time, so there may be more of them than cores.
const atOnce = "6"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	run := func() int {
		testscript.Main(tests{m}, map[string]func(){"lull": main})
		return 0
	}
	if filepath.Base(os.Args[0]) == "lull" { // run by a script, whose namespace it shares
		run()
	}
	os.Exit(ownnet.Run(run))
}

// tests are this package's tests, and what has to be removed after them.
type tests struct{ *testing.M }

// Run implements testscript.TestingM.
func (t tests) Run() int {
	defer func() {
		for _, remove := range afterTests {
			remove()
		}
	}()
	return t.M.Run()
}

// afterTests are called when all tests have ended.
var afterTests []func()
