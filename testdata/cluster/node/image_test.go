package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestWriteImage reads an image back as containerd would: manifest, then config and layer as it
// names them, the layer's digest as the config has it.
func TestWriteImage(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "image.tar")
	if err := WriteImage(archive, "test/image:1", "entry", map[string]string{"entry": program, "lull": program}); err != nil {
		t.Fatal(err)
	}
	parts := untar(t, archive)
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(parts["manifest.json"].body, &manifest); err != nil || len(manifest) != 1 || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest %s: %v", parts["manifest.json"].body, err)
	}
	var config struct {
		Config struct{ Entrypoint []string }
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(parts[manifest[0].Config].body, &config); err != nil {
		t.Fatal(err)
	}
	layer := parts[manifest[0].Layers[0]].body
	if got, want := config.Rootfs.DiffIDs[0], fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); got != want {
		t.Errorf("diff ID %s, the layer's is %s", got, want)
	}
	if got := config.Config.Entrypoint[0]; got != "/entry" {
		t.Errorf("entry point %q", got)
	}
	inner := filepath.Join(dir, "layer.tar")
	if err := os.WriteFile(inner, layer, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"entry", "lull"} {
		if f := untar(t, inner)[name]; string(f.body) != "a program" || f.mode != 0o755 {
			t.Errorf("%s: mode %o, %q", name, f.mode, f.body)
		}
	}
}

func TestWriteImageWithoutItsEntryPoint(t *testing.T) {
	if err := WriteImage(filepath.Join(t.TempDir(), "x.tar"), "x", "entry", nil); err == nil {
		t.Error("no error for an entry point that is no file of the image")
	}
}

type tarFile struct {
	mode int64
	body []byte
}

func untar(t *testing.T, file string) map[string]tarFile {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]tarFile{}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = tarFile{h.Mode, body}
	}
}
