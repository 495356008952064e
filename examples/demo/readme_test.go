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

// What differs from run to run: numbers, with the spaces that align them, and the arrivals that are
// told.
var (
	numbers  = regexp.MustCompile(` *[0-9]+(\.[0-9]+)?`)
	arrivals = regexp.MustCompile(`(?m)^.*lull: last arrival .* ago: .*\n`)
)

// sameInEachRun returns the text's lines without what differs from run to run. Of lines that are
// then equal and adjacent, one is left.
func sameInEachRun(text string) []string {
	text = arrivals.ReplaceAllString(text, "")
	return slices.Compact(strings.Split(numbers.ReplaceAllString(text, " N"), "\n"))
}

// TestReadme runs the whole demo and checks that the README shows what it prints, but for numbers.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: builds lull and runs the whole demo")
	}
	t.Parallel()
	var out bytes.Buffer
	if err := demo(context.Background(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	const command = "\nlull --kubeconfig"
	last := out.String()[strings.LastIndex(out.String(), command)+len(command):]
	made := "```console\n" + command[1:] + last + "```\n"
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
