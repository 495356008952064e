// Package markdown keeps generated parts of Markdown files up to date: tables of
// flags and figures that a test makes.
package markdown

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

// Section puts text between the line <!-- name: how --> and <!-- /name --> of a
// file, and reports whether that was there already. Without write it leaves the
// file alone.
func Section(file, name, text string, write bool) (same bool, err error) {
	old, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	head, tail, _ := bytes.Cut(old, []byte("<!-- "+name+": "))
	how, rest, ok := bytes.Cut(tail, []byte("\n"))
	_, after, ok2 := bytes.Cut(rest, []byte("<!-- /"+name+" -->"))
	if !ok || !ok2 {
		return false, fmt.Errorf("%s: no section %s", file, name)
	}
	made := slices.Concat(head, fmt.Appendf(nil, "<!-- %s: %s\n%s<!-- /%s -->", name, how, text, name), after)
	if bytes.Equal(old, made) || !write {
		return bytes.Equal(old, made), nil
	}
	return false, os.WriteFile(file, made, 0o644)
}
