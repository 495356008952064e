package node

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sys/unix"
)

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
	// restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower it.
	config := fmt.Sprintf(`version = 2
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
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`, n.run("opt"), pauseImage, n.run("etc", "cni"), n.snapshotter())
	if err := os.WriteFile(n.run("etc", "containerd.toml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := n.start("containerd", "containerd", "--config", n.run("etc", "containerd.toml")); err != nil {
		return err
	}
	if err := poll(ctx, 30*time.Second, "containerd", func() error {
		return n.aliveOr(n.ctr(ctx, "version"))
	}); err != nil {
		return err
	}
	return n.importImages(ctx)
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

// startWorker starts the kubelet and kube-proxy.
func (n *Node) startWorker(ctx context.Context) error {
	// clusterDNS: none runs there, but without an address each pod gets a MissingClusterDNS event.
	// Eviction and image collection are for disks that fill up, not for a test on a developer's
	// nearly full one.
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %s}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
resolvConf: ""
clusterDNS: [10.96.0.10]
volumePluginDir: %s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 100Mi, imagefs.available: 100Mi}
registryPullQPS: 0
eventRecordQPS: 0
`, n.run("pki", "ca.crt"), n.run("opt"))
	if err := os.WriteFile(n.run("etc", "kubelet.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := n.writeSeccomp(); err != nil {
		return err
	}
	if err := n.start("kubelet", n.bin("kubelet"), "--config="+n.run("etc", "kubelet.yaml"), "--kubeconfig="+n.run("pki", "kubelet.kubeconfig"),
		"--hostname-override="+Name, "--node-ip="+nodeIP4+","+nodeIP6, "--cert-dir="+n.run("pki")); err != nil {
		return err
	}
	return n.startProxy()
}

// startProxy starts kube-proxy in the node's mode. conntrack: its limits belong to the machine and
// can't be set from a network namespace.
func (n *Node) startProxy() error {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %s}
mode: %s
hostnameOverride: %s
clusterCIDR: %s,%s
conntrack: {maxPerCore: 0, min: 0}
`, n.run("pki", "proxy.kubeconfig"), n.Proxy, Name, pods4, pods6)
	if err := os.WriteFile(n.run("etc", "proxy.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	return n.start("kube-proxy", n.bin("kube-proxy"), "--config="+n.run("etc", "proxy.yaml"))
}

// waitReady waits until pods can be made: the node is ready and the default service account is there.
func (n *Node) waitReady(ctx context.Context) error {
	return poll(ctx, 90*time.Second, "a ready node", func() error {
		node, err := n.Client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
		if err != nil {
			return n.aliveOr(err)
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				return n.aliveOr(fmt.Errorf("node not ready: %s", c.Message))
			}
		}
		_, err = n.Client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return n.aliveOr(err)
	})
}
