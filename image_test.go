package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// publishes is the line of goreleaser.yaml with the image's name, which stands nowhere else by hand.
var publishes = regexp.MustCompile(`(?m)^ *- IMAGE=(\S+)$`)

// copiers are the files that show how an app's image gets lull. The first has the name that -update
// looks for elsewhere.
var copiers = []string{"README.md", "examples/image/Dockerfile"}

// copies is their line with the image's name, and a tag or a digest after it.
var copies = regexp.MustCompile(`(?m)^COPY --from=([^\s@]*?)(?::[^\s:@/]+)?(?:@\S+)? /lull /lull$`)

// TestImage checks that README.md and the examples take lull from the image that is published. With
// -update the new name takes the place of the one that README.md has so far.
func TestImage(t *testing.T) {
	published, copied := submatch(t, "goreleaser.yaml", publishes), submatch(t, copiers[0], copies)
	for _, file := range copiers {
		if named := submatch(t, file, copies); named != published && !*update {
			t.Errorf("%s names the image %s, goreleaser.yaml %s: go test . -run TestImage -update", file, named, published)
		}
	}
	if published == copied || !*update {
		return
	}
	for _, file := range append([]string{"README.md"}, texts(t, "examples", "testdata/cluster")...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		renamed := rename(string(text), copied, published)
		if renamed == string(text) {
			continue
		}
		t.Logf("%s: %s", file, published)
		if err := os.WriteFile(file, []byte(renamed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func submatch(t *testing.T, file string, pattern *regexp.Regexp) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := pattern.FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s: names no image", file)
	}
	return string(found[1])
}

// rename puts another name in the place of an image's, and leaves longer names alone.
func rename(text, from, to string) string {
	whole := regexp.MustCompile(`(?m)(^|[^\w./-])` + regexp.QuoteMeta(from) + `($|[^\w./-])`)
	return whole.ReplaceAllString(text, "${1}"+to+"${2}")
}

// texts lists the files in these directories.
func texts(t *testing.T, dirs ...string) []string {
	t.Helper()
	var files []string
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				files = append(files, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestRename checks what -update takes for the image's name.
func TestRename(t *testing.T) {
	const old = "registry.example/lull"
	for text, want := range map[string]string{
		"COPY --from=registry.example/lull:0.1.0 /lull /lull":     "COPY --from=r.test:5000/a/lull:0.1.0 /lull /lull",
		"image: {reference: \"registry.example/lull@sha256:0\"}":  "image: {reference: \"r.test:5000/a/lull@sha256:0\"}",
		"- name: registry.example/lull\n  newTag: 0.1.0":          "- name: r.test:5000/a/lull\n  newTag: 0.1.0",
		"image: registry.example/lull-tools and registry.example": "image: registry.example/lull-tools and registry.example",
		"image: other.registry.example/lull":                      "image: other.registry.example/lull",
	} {
		if got := rename(text, old, "r.test:5000/a/lull"); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	for line, want := range map[string]string{
		"COPY --from=lull /lull /lull":                        "lull",
		"COPY --from=r.test:5000/a/lull:0.1.0 /lull /lull":    "r.test:5000/a/lull",
		"COPY --from=r.test/lull@sha256:0123456 /lull /lull":  "r.test/lull",
		"COPY --from=r.test:5000/lull:1@sha256:0 /lull /lull": "r.test:5000/lull",
	} {
		if found := copies.FindStringSubmatch(line); found == nil || found[1] != want {
			t.Errorf("%q names %q, want %q", line, found, want)
		}
	}
}
