package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lull/testdata/markdown"
	"lull/wait"
)

const storyReference = "wait/STORY.md"

// storyEvents are the story's events with their fields, by the command that tells them: "hook left"
// and "watch queue".
type storyEvents map[string]map[string]bool

func (e storyEvents) add(command, event string, fields ...string) {
	key := command + " " + event
	if e[key] == nil {
		e[key] = map[string]bool{}
	}
	for _, f := range fields {
		e[key][f] = true
	}
}

func (e storyEvents) lines() (lines []string) {
	for key, fields := range e {
		lines = append(lines, key+": "+strings.Join(slices.Sorted(maps.Keys(fields)), " "))
	}
	slices.Sort(lines)
	return lines
}

// TestStoryReference checks that the reference has each event that the source tells, with its
// fields, and no other.
func TestStoryReference(t *testing.T) {
	t.Parallel()
	source, reference := sourceEvents(t), documentedEvents(t)
	if len(source) < 30 {
		t.Fatalf("only %d events found", len(source))
	}
	want, got := source.lines(), reference.lines()
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s lacks, or has with other fields: %s", storyReference, line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s has what no source tells: %s", storyReference, line)
		}
	}
}

// The words that stand in a field are in the reference, too.
func TestStoryReferenceWords(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(storyReference)
	if err != nil {
		t.Fatal(err)
	}
	var words []fmt.Stringer
	for r := wait.Quiet; r <= wait.StillOpen; r++ {
		words = append(words, r)
	}
	for s := wait.Removal; s <= wait.Closing; s++ {
		words = append(words, s)
	}
	for k := wait.Connection; k <= wait.Waiting; k++ {
		words = append(words, k)
	}
	for w := wait.ByClient; w <= wait.Unclear; w++ {
		words = append(words, w)
	}
	for _, w := range words {
		if !strings.Contains(string(text), "`"+w.String()+"`") {
			t.Errorf("%s lacks %q", storyReference, w)
		}
	}
}

// TestStoryInReadme checks that the README's lines of a log are the story's: each is an event with
// fields that the reference has.
func TestStoryInReadme(t *testing.T) {
	t.Parallel()
	text, err := markdown.Text("README.md", "log")
	if err != nil {
		t.Fatal(err)
	}
	reference, shown := documentedEvents(t), 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("%v: %s", err, line)
			continue
		}
		shown++
		known := reference[fmt.Sprint("hook ", fields["event"])]
		if known == nil || fields["logger"] != "lull" {
			t.Errorf("no event of %s: %s", storyReference, line)
		}
		for _, common := range []string{"time", "level", "msg", "logger", "event"} {
			if fields[common] == nil {
				t.Errorf("no %q: %s", common, line)
			}
			delete(fields, common)
		}
		for field := range fields {
			if !known[field] {
				t.Errorf("%s does not have the field %q: %s", storyReference, field, line)
			}
		}
	}
	if shown < 5 {
		t.Errorf("only %d lines", shown)
	}
}

// documentedEvents are those in the reference's tables.
func documentedEvents(t *testing.T) storyEvents {
	text, err := os.ReadFile(storyReference)
	if err != nil {
		t.Fatal(err)
	}
	all, command := storyEvents{}, ""
	row := regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]*)\\|")
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "## The hook"):
			command = "hook"
		case strings.HasPrefix(line, "## `lull watch`"):
			command = "watch"
		}
		if m := row.FindStringSubmatch(line); m != nil {
			all.add(command, m[1])
			for _, f := range quoted.FindAllStringSubmatch(m[2], -1) {
				all.add(command, m[1], f[1])
			}
		}
	}
	return all
}

// sourceEvents are those in the source: each call of a logger, and each list of attributes, that
// has "event" and its name.
func sourceEvents(t *testing.T) storyEvents {
	all := storyEvents{}
	for _, dir := range []string{".", "wait", "kube", "procnet"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", dir, files, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			command := "hook"
			if strings.HasPrefix(name, "watch") {
				command = "watch"
			}
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
					functionEvents(t, fset, all, command, f)
				}
			}
		}
	}
	return all
}

// functionEvents adds the events of a function. Attributes that it appends to a list belong to the
// list's event.
func functionEvents(t *testing.T, fset *token.FileSet, all storyEvents, command string, f *ast.FuncDecl) {
	listed := ""
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if event, fields, ok := attributes(n.Elts); ok {
				all.add(command, event, fields...)
				listed = event
			}
		case *ast.CallExpr:
			event, fields, ok := attributes(n.Args)
			method := ""
			if s, isMethod := n.Fun.(*ast.SelectorExpr); isMethod {
				method = s.Sel.Name
			}
			switch {
			case ok:
				all.add(command, event, fields...)
			case slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, method) && len(n.Args) > 0:
				t.Errorf("%v: a line without an event, or with attributes that cannot be read", fset.Position(n.Pos()))
			case listed != "" && isAppend(n):
				_, fields, _ := attributes(append([]ast.Expr{quote("event"), quote(listed)}, n.Args[1:]...))
				all.add(command, listed, fields...)
			}
		}
		return true
	})
}

func isAppend(c *ast.CallExpr) bool {
	name, ok := c.Fun.(*ast.Ident)
	if !ok || name.Name != "append" || len(c.Args) < 3 {
		return false
	}
	_, ok = literal(c.Args[1])
	list, isIdent := c.Args[0].(*ast.Ident)
	return ok && isIdent && list.Name == "attrs"
}

// attributes finds "event" and its name among expressions, and the names of what follows.
func attributes(of []ast.Expr) (event string, fields []string, ok bool) {
	at := slices.IndexFunc(of, func(e ast.Expr) bool { s, ok := literal(e); return ok && s == "event" })
	if at < 0 || at+1 >= len(of) {
		return "", nil, false
	}
	if event, ok = literal(of[at+1]); !ok {
		return "", nil, false
	}
	for i := at + 2; i < len(of); i += 2 {
		name, ok := literal(of[i])
		if !ok {
			return "", nil, false
		}
		fields = append(fields, name)
	}
	return event, fields, true
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

func quote(s string) ast.Expr { return &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(s)} }
