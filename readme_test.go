package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"lull/testdata/markdown"
)

// TestReadme checks that the README's flag table is that of the flags.
func TestReadme(t *testing.T) {
	same, err := markdown.Section("README.md", "flags", flagTable(t), *update)
	if err != nil {
		t.Fatal(err)
	}
	if !same && !*update {
		t.Error("README.md: the flag table is stale: go test . -run TestReadme -update")
	}
}

// TestReadmeRouters checks that the README's table of late routers is that of the scenarios, but for
// the routers that are earlier than a sleep takes.
func TestReadmeRouters(t *testing.T) {
	const kept = "testdata/cluster/figures/routers.md"
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	head, late := 2, regexp.MustCompile(`\| (12|20) s \|`)
	var table string
	for row := range strings.Lines(string(text)) {
		if head > 0 || late.MatchString(row) {
			table += row
		}
		head--
	}
	same, err := markdown.Section("README.md", "routers", table, *update)
	if err != nil {
		t.Fatal(err)
	}
	if !same && !*update {
		t.Errorf("README.md: not the rows of %s: go test . -run TestReadme -update", kept)
	}
}

func flagTable(t *testing.T) string {
	var c cli
	parser, err := kong.New(&c, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| flag | default | environment | meaning |\n|---|---|---|---|\n")
	for _, node := range parser.Model.Children {
		if node.Name != "wait" {
			continue
		}
		for _, f := range node.Flags {
			def := f.Default
			if def == "" {
				def = "none"
			}
			env := strings.Join(f.Envs, ", ")
			if env == "" {
				t.Errorf("--%s has no environment variable", f.Name)
			}
			fmt.Fprintf(&b, "| `--%s` | %s | `%s` | %s |\n", f.Name, def, env, strings.ReplaceAll(f.Help, "|", "\\|"))
		}
	}
	return b.String()
}

// TestPaths checks that the files to which the documents link exist, and those that CONTRIBUTING's
// tables name.
func TestPaths(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^):#]+)(?:#[^)]*)?\)`)
	file := regexp.MustCompile("`([\\w./-]+(?:\\.go|\\.md|\\.ya?ml|/))`")
	row := regexp.MustCompile(`(?m)^\|.*$`)
	documents, err := filepath.Glob("*.md")
	if err != nil || len(documents) < 4 {
		t.Fatalf("documents %v: %v", documents, err)
	}
	for _, document := range append(documents, "procnet/README.md", "wait/README.md", storyReference, "examples/mistakes.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			paths = append(paths, filepath.Join(filepath.Dir(document), m[1]))
		}
		if document == "CONTRIBUTING.md" {
			for _, m := range file.FindAllStringSubmatch(strings.Join(row.FindAllString(string(text), -1), "\n"), -1) {
				paths = append(paths, m[1])
			}
		}
		for _, path := range paths {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}
