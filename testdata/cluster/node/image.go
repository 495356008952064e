package node

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Images of the cluster; imagePullPolicy must be Never, as no registry has them.
const (
	pauseImage = "lull.test/pause:1"
	AppImage   = "lull.test/app:1"  // /app, with /lull copied in as examples/image/Dockerfile does
	LullImage  = "lull.test/lull:1" // the published image: buildLullImage
	LoadImage  = "lull.test/load:1" // /load
)

// images lists what each image holds, the entry point first.
var images = map[string][]string{
	pauseImage: {"pause"},
	AppImage:   {"app", "lull"},
	LoadImage:  {"load"},
}

// importImages builds the images and imports them into the node's containerd.
func (n *Node) importImages(ctx context.Context) error {
	for name, programs := range images {
		files := map[string]string{}
		for _, program := range programs {
			files[program] = n.bin(program)
		}
		archive := n.img(programs[0] + ".tar")
		if err := WriteImage(archive, name, programs[0], files); err != nil {
			return err
		}
		if err := n.ctr(ctx, "images", "import", archive); err != nil {
			return err
		}
	}
	archive := n.img("lull.tar")
	if err := n.buildLullImage(ctx, archive); err != nil {
		return err
	}
	return n.ctr(ctx, "images", "import", archive)
}

// buildLullImage has lull's image built as a release does it, of the release's Dockerfile.
func (n *Node) buildLullImage(ctx context.Context, archive string) error {
	const platform = "linux/" + runtime.GOARCH
	binaries := n.run("image")
	if err := os.MkdirAll(filepath.Join(binaries, platform), 0o755); err != nil {
		return err
	}
	if err := os.Link(n.bin("lull"), filepath.Join(binaries, platform, "lull")); err != nil {
		return err
	}
	// An archive that is there is not written over.
	if err := os.RemoveAll(archive); err != nil {
		return err
	}
	build := n.command(ctx, machineNet, filepath.Join(root(), "..", "image"), binaries, LullImage, archive, platform)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("image %s: %w: %s", LullImage, err, lastLines(string(out), 3))
	}
	return nil
}

// WriteImage writes an image FROM scratch as a docker-archive, the format of `docker save` and `ctr
// images import`: the files at its root, mode 0755, owned by root, one of them the entry point. The
// same files give the same archive.
func WriteImage(archive, name, entry string, files map[string]string) error {
	layer, err := layerTar(entry, files)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/" + entry}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, part := range []struct {
		name string
		body []byte
	}{{"manifest.json", manifest}, {"config.json", config}, {"layer.tar", layer}} {
		if err := addFile(w, part.name, 0o644, int64(len(part.body)), bytes.NewReader(part.body)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(archive, out.Bytes(), 0o644)
}

// layerTar is the image's one layer: the entry point, then the other files in no order that matters
// to who runs them.
func layerTar(entry string, files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range sortedNames(files) {
		f, err := os.Open(files[name])
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil {
			err = addFile(w, name, 0o755, info.Size(), f)
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
	if _, ok := files[entry]; !ok {
		return nil, fmt.Errorf("entry point %q is not among its files", entry)
	}
	return out.Bytes(), w.Close()
}

func addFile(w *tar.Writer, name string, mode, size int64, body io.Reader) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: size, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := io.Copy(w, body)
	return err
}
