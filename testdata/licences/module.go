package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// A module of which at least a package is linked.
type module struct {
	path, version, dir string
	packages           []string // directories
}

// linked lists the modules of which lull links packages on any of these systems, and Go's own
// library first.
func linked(ctx context.Context, systems ...string) ([]*module, error) {
	all := map[string]*module{}
	for _, system := range systems {
		list := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,Module,Standard", ".")
		list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		list.Stderr = os.Stderr
		out, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if err := addPackages(all, string(out)); err != nil {
			return nil, err
		}
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	modules := []*module{{path: "Go's library", version: runtime.Version(), dir: strings.TrimSpace(string(root))}}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		modules = append(modules, all[path])
	}
	return modules, nil
}

// addPackages adds what go list -json printed.
func addPackages(all map[string]*module, printed string) error {
	for d := json.NewDecoder(strings.NewReader(printed)); ; {
		var p struct {
			Dir      string
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("go list: %w", err)
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		m := all[p.Module.Path]
		if m == nil {
			m = &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
			all[m.path] = m
		}
		m.packages = append(m.packages, p.Dir)
	}
}

// A notice is a file that has to go with the binary.
type notice struct {
	name, text string
	isLicence  bool
}

var noticeFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)(\.(md|txt))?$`)

// notices are those of the module, and of its linked packages that have their own.
func (m *module) notices() ([]notice, error) {
	dirs := map[string]bool{m.dir: true}
	for _, dir := range m.packages {
		for ; dir != m.dir && strings.HasPrefix(dir, m.dir); dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
	}
	var found []notice
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if f.IsDir() || !noticeFile.MatchString(f.Name()) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(m.dir, filepath.Join(dir, f.Name()))
			if err != nil {
				return nil, err
			}
			lower := strings.ToLower(f.Name())
			isLicence := strings.HasPrefix(lower, "licen") || strings.HasPrefix(lower, "copying")
			found = append(found, notice{name, string(text), isLicence})
		}
	}
	return found, nil
}
