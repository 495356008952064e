package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestClassify(t *testing.T) {
	tests := []struct {
		text, names string
		allowed     bool
	}{
		{"Apache License\n  Version 2.0, January 2004", "Apache-2.0", true},
		{"Permission is hereby granted, free of charge, to any\nperson obtaining a copy of", "MIT", true},
		{"Redistribution and use in source and binary forms, with or without\n# modification, are permitted", "", true},
		{"the GNU Lesser General Public License", "LGPL", false},
		{"Apache License Version 2.0, January 2004 ... Commons Clause", "Apache-2.0, Commons Clause", false},
		{"All rights reserved.", "", true},
	}
	for _, tt := range tests {
		found := classify(tt.text)
		if got := names(found); got != tt.names || allowed(found) != tt.allowed {
			t.Errorf("%q is %q, allowed %v; want %q, %v", tt.text, got, allowed(found), tt.names, tt.allowed)
		}
	}
}

// TestNotices checks that a linked package's own licence is found, and that of one which is not linked is not.
func TestNotices(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"LICENSE", "NOTICE", "licenses.go", "forked/LICENSE.md", "forked/deep/x.go", "unused/COPYING"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := module{dir: dir, packages: []string{dir, filepath.Join(dir, "forked/deep")}}
	notices, err := m.notices()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range notices {
		got = append(got, n.name)
	}
	if want := []string{"LICENSE", "NOTICE", "forked/LICENSE.md"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
