package node

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// startControlPlane starts etcd, the API server, the controllers and the scheduler, and makes the
// client.
func (n *Node) startControlPlane(ctx context.Context) error {
	if err := n.start("etcd", n.bin("etcd"), "--data-dir", n.run("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380"); err != nil {
		return err
	}
	if err := n.start("kube-apiserver", n.apiServerArgs()...); err != nil {
		return err
	}
	if err := n.client(); err != nil {
		return err
	}
	// containerd needs nothing of the control plane: it starts meanwhile.
	if err := n.startContainerd(ctx); err != nil {
		return err
	}
	if err := n.WaitAPI(ctx); err != nil {
		return err
	}
	// With a controller's default of 20 requests a second the service accounts' credentials take 5
	// s to make.
	if err := n.start("kube-controller-manager", n.bin("kube-controller-manager"), "--kubeconfig="+n.run("pki", "controller-manager.kubeconfig"),
		"--leader-elect=false", "--use-service-account-credentials", "--kube-api-qps=200", "--kube-api-burst=400",
		"--root-ca-file="+n.run("pki", "ca.crt"), "--service-account-private-key-file="+n.run("pki", "sa.key"),
		"--flex-volume-plugin-dir="+n.run("opt"), "--cert-dir="+n.run("tmp")); err != nil {
		return err
	}
	return n.start("kube-scheduler", n.bin("kube-scheduler"), "--kubeconfig="+n.run("pki", "scheduler.kubeconfig"),
		"--leader-elect=false", "--cert-dir="+n.run("tmp"))
}

func (n *Node) apiServerArgs() []string {
	pki := func(name string) string { return n.run("pki", name) }
	return []string{
		n.bin("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address=" + nodeIP4, "--bind-address=0.0.0.0", "--secure-port=6443",
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"), "--client-ca-file=" + pki("ca.crt"),
		"--kubelet-client-certificate=" + pki("to-kubelet.crt"), "--kubelet-client-key=" + pki("to-kubelet.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + pki("sa.key"), "--service-account-key-file=" + pki("sa.pub"),
		"--kubelet-preferred-address-types=InternalIP", // there is no DNS for the node's name
		"--authorization-mode=Node,RBAC", "--service-cluster-ip-range=" + svc4 + "," + svc6, "--allow-privileged=true",
		"--cert-dir=" + n.run("tmp"),
	}
}

// client makes Config and Client. The API server is in the node's network, so every connection is
// dialled from there.
func (n *Node) client() error {
	n.Config = &rest.Config{
		Host:            "https://127.0.0.1:6443",
		TLSClientConfig: rest.TLSClientConfig{CAFile: n.run("pki", "ca.crt"), CertFile: n.run("pki", "admin.crt"), KeyFile: n.run("pki", "admin.key")},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return n.Dial(ctx, network, address)
		},
		QPS: 200, Burst: 400,
		UserAgent: "lull-cluster",
	}
	client, err := kubernetes.NewForConfig(n.Config)
	n.Client = client
	return err
}

// WaitAPI waits until the API server is ready to serve.
func (n *Node) WaitAPI(ctx context.Context) error {
	return poll(ctx, time.Minute, "the API server", func() error {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := n.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(try)
		return n.aliveOr(err)
	})
}

// Freeze stops a daemon in its tracks (SIGSTOP): its connections stay open, and nothing answers.
// SIGCONT undoes it.
func (n *Node) Freeze(daemon string) error { return n.daemons[daemon].Signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (n *Node) Thaw(daemon string) error { return n.daemons[daemon].Signal(syscall.SIGCONT) }

// KillAPI ends the API server: connections are reset, new ones refused.
func (n *Node) KillAPI(ctx context.Context) error {
	return n.daemons["kube-apiserver"].Stop(ctx, syscall.SIGKILL)
}

// RestartAPI starts the API server again after KillAPI, and waits until it is ready.
func (n *Node) RestartAPI(ctx context.Context) error {
	if err := n.daemons["kube-apiserver"].start(); err != nil {
		return err
	}
	return n.WaitAPI(ctx)
}

// SetProxy restarts kube-proxy in another mode, "nftables" or "iptables"; it clears away the other
// mode's rules itself.
func (n *Node) SetProxy(ctx context.Context, mode string) error {
	if mode == n.Proxy {
		return nil
	}
	if err := n.daemons["kube-proxy"].Stop(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	n.Proxy = mode
	if err := n.startProxy(); err != nil {
		return fmt.Errorf("kube-proxy in %s mode: %w", mode, err)
	}
	return nil
}
