// Package markdown keeps generated parts of Markdown files up to date: tables of
// flags and figures that a test makes.
package markdown

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

// Text returns what stands between the line <!-- name: how --> and <!-- /name --> of a file.
func Text(file, name string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	_, text, _, err = split(file, name, text)
	return string(text), err
}

// Section puts text between the line <!-- name: how --> and <!-- /name --> of a
// file, and reports whether that was there already. Without write it leaves the
// file alone.
func Section(file, name, text string, write bool) (same bool, err error) {
	old, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	before, _, after, err := split(file, name, old)
	if err != nil {
		return false, err
	}
	made := slices.Concat(before, []byte(text), after)
	if bytes.Equal(old, made) || !write {
		return bytes.Equal(old, made), nil
	}
	return false, os.WriteFile(file, made, 0o644)
}

// split cuts a file's text before and after its section's.
func split(file, name string, text []byte) (before, section, after []byte, err error) {
	start := bytes.Index(text, []byte("<!-- "+name+": "))
	end := bytes.Index(text, []byte("<!-- /"+name+" -->"))
	if start < 0 || end < start {
		return nil, nil, nil, fmt.Errorf("%s: no section %s", file, name)
	}
	start += bytes.IndexByte(text[start:], '\n') + 1
	return text[:start], text[start:end], text[end:], nil
}
