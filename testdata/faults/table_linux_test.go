package faults

import (
	"fmt"
	"strings"
	"testing"

	"lull/testdata/markdown"
)

// TestTable checks that the tables of README.md are those of the tests.
func TestTable(t *testing.T) {
	for _, g := range []group{apiFaults, kernelFaults, processFaults, limitFaults} {
		same, err := markdown.Section("README.md", g.name, g.table(), *update)
		if err != nil {
			t.Fatal(err)
		}
		if !same && !*update {
			t.Errorf("README.md: the table %s is stale: go test ./testdata/faults -run TestTable -update", g.name)
		}
	}
}

func (g group) table() string {
	var b strings.Builder
	b.WriteString("| what goes wrong | what lull does | exit code |\n|---|---|---|\n")
	for _, f := range g.faults {
		code := fmt.Sprint(f.code)
		if f.code == killed {
			code = "137: killed"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, f.does, code)
	}
	return b.String()
}
