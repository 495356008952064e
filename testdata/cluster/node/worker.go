package node

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
shutdownGracePeriod: %s
shutdownGracePeriodCriticalPods: 1s
`, n.run("pki", "ca.crt"), n.run("opt"), ShutdownGrace)
	if err := os.WriteFile(n.run("etc", "kubelet.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := n.writeSeccomp(); err != nil {
		return err
	}
	if err := n.startLogind(ctx); err != nil {
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
