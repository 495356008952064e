package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// paths is where everything lies: binaries and images are kept between runs, the rest is one node's
// state and goes with it.
type paths struct {
	cache string // the whole: os.UserCacheDir()/lull-cluster
}

func newPaths() (paths, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return paths{}, fmt.Errorf("no cache directory: %w", err)
	}
	return paths{filepath.Join(dir, "lull-cluster")}, nil
}

func (p paths) bin(name string) string { return filepath.Join(p.cache, "bin", name) }
func (p paths) img(name string) string { return filepath.Join(p.cache, "img", name) }
func (p paths) log(name string) string { return filepath.Join(p.cache, "logs", name+".log") }
func (p paths) lock() string           { return filepath.Join(p.cache, "lock") }

// run is the state of the node that is up.
func (p paths) run(elem ...string) string {
	return filepath.Join(append([]string{p.cache, "run"}, elem...)...)
}

// fs is where a path of the node that nodeinit overlays lies on this machine, such as "var-log/pods".
func (p paths) fs(elem ...string) string { return p.run(append([]string{"fs"}, elem...)...) }

// make creates the directories of a fresh node.
func (p paths) make() error {
	for _, dir := range []string{
		p.bin(""), p.img(""), filepath.Join(p.cache, "logs"), p.run("pki"), p.run("etcd"), p.run("etc", "cni"), p.run("tmp"), p.run("opt"),
		p.run("pods"), p.fs("run"), p.fs("var-lib", "kubelet", "seccomp"), p.fs("var-lib", "containerd"), p.fs("var-lib", "cni"), p.fs("var-log", "pods"),
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}
