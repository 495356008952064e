package main

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// The release build and examples/Dockerfile stamp these by -ldflags=-X.
var version, commit string

// An archive of the source that git makes has these filled in (export-subst in .gitattributes).
const (
	archivedVersion = "$Format:%(describe:tags=true)$"
	archivedCommit  = "$Format:%H$"
)

// versionText is what lull --version prints after the name.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describe(source{version, commit}, source{filled(archivedVersion), filled(archivedCommit)}, info)
}

// source names the state of the source that a binary was built from. What is not known is empty.
type source struct{ version, commit string }

// describe tells version, commit and Go's version in one form, however the binary was built: what
// was stamped comes first, then what Go knows of the module or the checkout, then what git wrote
// into an archive of the source.
func describe(stamped, archived source, info *debug.BuildInfo) string {
	built := source{version: strings.TrimPrefix(info.Main.Version, "(devel)")}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			built.commit = s.Value
		}
	}
	built.commit = cmp.Or(built.commit, pseudoCommit(built.version))
	v := cmp.Or(stamped.version, built.version, archived.version, "devel")
	c := cmp.Or(stamped.commit, built.commit, archived.commit, "unknown")
	return fmt.Sprintf("%s (commit %.12s, %s)", strings.TrimPrefix(v, "v"), c, cmp.Or(info.GoVersion, runtime.Version()))
}

// pseudoCommit returns the commit that ends a pseudo-version, as
// v0.0.0-20261126002929-1281f6eeee0f; nothing where the version is another.
func pseudoCommit(version string) string {
	version, _, _ = strings.Cut(version, "+")
	parts := strings.Split(version, "-")
	last := parts[len(parts)-1]
	if _, err := hex.DecodeString(last); err != nil || len(last) != 12 || len(parts) < 3 {
		return ""
	}
	return last
}

// filled returns what git put in place of a format; nothing where the format is there still, or
// where an older git left a part of it.
func filled(text string) string {
	if strings.ContainsAny(text, "$%") {
		return ""
	}
	return text
}
