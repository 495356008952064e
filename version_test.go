package main

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	const (
		full   = "1281f6eeee0f5b0c7a4a35c4e0f0b3f0a2f6c1d9"
		short  = "1281f6eeee0f"
		pseudo = "v0.0.0-20261126002929-" + short
	)
	tests := []struct {
		name              string
		stamped, archived source
		module, revision  string // what Go knows
		want              string
	}{
		{"a release", source{"0.1.0", full}, source{}, "(devel)", "", "0.1.0 (commit " + short + ", go1.26.0)"},
		{"go build on the release's tag", source{}, source{}, "v0.1.0", full, "0.1.0 (commit " + short + ", go1.26.0)"},
		{"the release's source archive", source{}, source{"v0.1.0", full}, "(devel)", "", "0.1.0 (commit " + short + ", go1.26.0)"},
		{"go install of the release", source{}, source{}, "v0.1.0", "", "0.1.0 (commit unknown, go1.26.0)"},
		{"a snapshot", source{pseudo[1:], full}, source{}, "(devel)", "", pseudo[1:] + " (commit " + short + ", go1.26.0)"},
		{"go build in a checkout", source{}, source{}, pseudo, full, pseudo[1:] + " (commit " + short + ", go1.26.0)"},
		{"go build in a changed checkout", source{}, source{}, pseudo + "+dirty", full, pseudo[1:] + "+dirty (commit " + short + ", go1.26.0)"},
		{"go install of a commit", source{}, source{}, pseudo, "", pseudo[1:] + " (commit " + short + ", go1.26.0)"},
		{"go install of a commit after a release", source{}, source{}, "v0.1.1-0.20261126002929-" + short, "", "0.1.1-0.20261126002929-" + short + " (commit " + short + ", go1.26.0)"},
		{"an archive of a commit that no tag precedes", source{}, source{"", full}, "(devel)", "", "devel (commit " + short + ", go1.26.0)"},
		{"a copy that nobody knows anything of", source{}, source{}, "(devel)", "", "devel (commit unknown, go1.26.0)"},
		{"a version that ends like a commit", source{}, source{}, "v1.0.0-deadbeefdead", "", "1.0.0-deadbeefdead (commit unknown, go1.26.0)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: tt.module}}
			if tt.revision != "" {
				info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: tt.revision}}
			}
			if got := describe(tt.stamped, tt.archived, info); got != tt.want {
				t.Errorf("lull --version prints %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFilled(t *testing.T) {
	for _, format := range []string{"$Format:%H$", "%(describe:tags=true)"} {
		if got := filled(format); got != "" {
			t.Errorf("what git has not filled in is told as %q", got)
		}
	}
	if got := filled("1281f6e"); got != "1281f6e" {
		t.Errorf("what git has filled in is told as %q", got)
	}
}
