package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// containerdModule is pinned in a module of its own, as it wants libraries of Kubernetes in versions
// that are not Kubernetes's. Its programs are built into a directory of their own, ownContainerd.
const (
	containerdModule = "github.com/containerd/containerd/v2"
	ownContainerd    = "containerd"
)

// buildContainerd compiles the containerd that mounts images as volumes, and its shim: some two
// minutes on two cores from nothing.
func (n *Node) buildContainerd(ctx context.Context) error {
	module := filepath.Join(root(), "containerd")
	version, err := goTool(ctx, "-C", module, "list", "-m", "-f", "{{.Version}}", containerdModule)
	if err != nil {
		return err
	}
	version = strings.TrimSpace(version)
	n.Say("building containerd %s", version)
	if err := os.MkdirAll(n.bin(ownContainerd), 0o755); err != nil {
		return err
	}
	args := []string{"-C", module, "build", "-ldflags", "-s -w -X " + containerdModule + "/version.Version=" + version, "-o", n.bin(ownContainerd) + "/"}
	for _, program := range []string{"containerd", "containerd-shim-runc-v2"} {
		args = append(args, containerdModule+"/cmd/"+program)
	}
	if _, err := goTool(ctx, args...); err != nil {
		return fmt.Errorf("build containerd: %w", err)
	}
	return nil
}

// startContainerd starts containerd with the bridge CNI and imports the images.
func (n *Node) startContainerd(ctx context.Context) error {
	// One range a family. The routes make the bridge the pods' gateway for everything.
	cni := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "bridge", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/networks",
            "ranges": [[{"subnet": "%s"}], [{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]}
`, pods4, pods6)
	if err := os.WriteFile(n.run("etc", "cni", "10-bridge.conflist"), []byte(cni), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(n.run("etc", "containerd.toml"), []byte(n.containerdConfig()), 0o644); err != nil {
		return err
	}
	program, _ := n.containerd()
	if err := n.start("containerd", program, "--config", n.run("etc", "containerd.toml")); err != nil {
		return err
	}
	if err := poll(ctx, 30*time.Second, "containerd", func() error {
		return n.aliveOr(n.ctr(ctx, "version"))
	}); err != nil {
		return err
	}
	return n.importImages(ctx)
}

// containerd is the node's, and the shim that it must use; "" for the one that it finds.
func (n *Node) containerd() (program, shim string) {
	if n.ImageVolumes {
		return n.bin(ownContainerd + "/containerd"), n.bin(ownContainerd + "/containerd-shim-runc-v2")
	}
	return "containerd", ""
}

// containerdConfig is in the format of containerd 1.6, which containerd 2 still reads.
func (n *Node) containerdConfig() string {
	_, shim := n.containerd()
	// restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower it.
	return fmt.Sprintf(`version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "%s"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%s"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%s"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "%s"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "%s"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = false
`, n.run("opt"), pauseImage, n.run("etc", "cni"), n.snapshotter(), shim)
}

// snapshotter is overlayfs, unless the state lies on an overlay itself, where the kernel would
// refuse another on top.
func (n *Node) snapshotter() string {
	var s unix.Statfs_t
	if err := unix.Statfs(n.run(), &s); err == nil && s.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}

// ctr runs containerd's own client in the node.
func (n *Node) ctr(ctx context.Context, args ...string) error {
	if out, err := n.command(ctx, allSpaces, append([]string{"ctr", "-n", "k8s.io"}, args...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", args[0], err, lastLines(string(out), 2))
	}
	return nil
}
