package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// kubernetes and etcd are pinned in go.mod, as tools; their versions are read back from there.
const (
	kubernetesModule = "k8s.io/kubernetes"
	etcdModule       = "go.etcd.io/etcd/server/v3"
	ownModule        = "lull/testdata/cluster"
)

var kubernetesBinaries = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}

// ownBinaries are this module's: the programs of the node and of its images.
var ownBinaries = []string{"nodeinit", "pause", "app", "load", "logind"}

// Build compiles every program of the cluster, lull among them, into the cache directory: some
// seven minutes on two cores from nothing, seconds from a warm build cache. The binaries are
// static: images FROM scratch hold nothing else.
func Build(ctx context.Context, say func(format string, args ...any)) error {
	p, err := newPaths()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.bin(""), 0o755); err != nil {
		return err
	}
	version, err := goTool(ctx, "list", "-m", "-f", "{{.Version}}", kubernetesModule)
	if err != nil {
		return err
	}
	version = strings.TrimSpace(version)
	minor := strings.SplitN(strings.TrimPrefix(version, "v1."), ".", 2)[0]
	const pkg = "k8s.io/component-base/version"
	// Without the stamp the binaries call themselves v0.0.0-master, to each other too.
	stamp := fmt.Sprintf("-s -w -X %s.gitVersion=%s -X %s.gitMajor=1 -X %s.gitMinor=%s", pkg, version, pkg, pkg, minor)
	var kube, own []string
	for _, b := range kubernetesBinaries {
		kube = append(kube, kubernetesModule+"/cmd/"+b)
	}
	for _, b := range ownBinaries {
		own = append(own, ownModule+"/"+b)
	}
	for _, step := range []struct {
		what string
		args []string
	}{
		{"Kubernetes " + version, append([]string{"build", "-ldflags", stamp, "-o", p.bin("") + "/"}, kube...)},
		{"etcd", []string{"build", "-ldflags", "-s -w", "-o", p.bin("etcd"), etcdModule}},
		{"the app and its helpers", append([]string{"build", "-ldflags", "-s -w", "-o", p.bin("") + "/"}, own...)},
		{"lull", []string{"build", "-C", filepath.Join(root(), "..", ".."), "-trimpath", "-ldflags", "-s -w -funcalign=16", "-o", p.bin("lull"), "."}},
	} {
		say("building %s", step.what)
		if _, err := goTool(ctx, step.args...); err != nil {
			return fmt.Errorf("build %s: %w", step.what, err)
		}
	}
	return nil
}

// goTool runs the go command in this module, CGO off, and returns what it printed.
func goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, lastLines(stderr.String(), 5))
	}
	return string(out), nil
}

// root is this module's directory: the source tree is there whenever tests run.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(file))
}

// lastLines returns the last n lines of s joined by "; ", for an error of one line.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// Lull is where the binary under test lies.
func (n *Node) Lull() string { return n.bin("lull") }
