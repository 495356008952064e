package main

import (
	"bytes"
	"context"
	"flag"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lull/testdata/markdown"
)

var update = flag.Bool("update", false, "write the README's output of the demo anew")

// numbers differ from run to run, and the spaces that align them.
var numbers = regexp.MustCompile(` *[0-9]+(\.[0-9]+)?`)

// leftOut are the lines that the README does not show: the arrivals that are told, which differ from
// run to run, who lull is, what it may take, and its exit code.
var leftOut = regexp.MustCompile(`(?m)^.*(lull: (last arrival|pod|budget) |exits with ).*\n`)

// sameInEachRun returns the text's lines without what differs from run to run. Of lines that are
// then equal and adjacent, one is left.
func sameInEachRun(text string) []string {
	return slices.Compact(strings.Split(numbers.ReplaceAllString(text, " N"), "\n"))
}

// TestReadme runs the whole demo and checks that the README shows what its last run prints,
// but for numbers and leftOut.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: builds lull and runs the whole demo")
	}
	t.Parallel()
	var out bytes.Buffer
	if err := demo(context.Background(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	_, last, _ := strings.Cut(out.String()[strings.LastIndex(out.String(), "\nlull --kubeconfig")+1:], "\n")
	made := "```console\n" + leftOut.ReplaceAllString(last, "") + "```\n"
	const readme = "../../README.md"
	if *update {
		if _, err := markdown.Section(readme, "demo", made, true); err != nil {
			t.Fatal(err)
		}
	}
	shown, err := markdown.Text(readme, "demo")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sameInEachRun(shown), sameInEachRun(made)); diff != "" {
		t.Errorf("README.md does not show what the demo prints: go test ./examples/demo -run TestReadme -update\n(-README +demo):\n%s", diff)
	}
}
