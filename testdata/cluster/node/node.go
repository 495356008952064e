// Package node builds, starts and tears down a real one-node Kubernetes: etcd and the control
// plane, containerd, the kubelet and kube-proxy.
//
// The node is one set of mount, network, PID, UTS and IPC namespaces. What daemons write to /run,
// /var/lib and /var/log lies in the state directory; the machine's own network and sysctls are out
// of their reach. Of the machine they use the kernel, the file system (read only, by habit rather
// than by force) and the kubepods cgroups, which is why there can be one node at a time.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Name is the node's name and host name.
const Name = "lull-node"

// Address is where programs in the node's network can listen.
const Address = nodeIP4

// Clients are addresses that programs in the node's network can connect from. A load that comes from
// one address uses its ports again so soon that new connections meet the conntrack entries of old
// ones, and with them the way to pods that are long gone.
const (
	Clients      = "10.11.0.0/24"
	OtherClients = "10.12.0.0/24" // for a load that comes after one from Clients
)

// Addresses of the node, its pods and its Services, in both families. They exist in the node's
// network only.
const (
	nodeIP4  = "10.10.0.2"
	gateway4 = "10.10.0.1"
	nodeIP6  = "fd00:10:10::2"
	gateway6 = "fd00:10:10::1"
	pods4    = "10.244.0.0/24"
	pods6    = "fd00:10:244::/64"
	svc4     = "10.96.0.0/16"
	svc6     = "fd00:10:96::/112"
	apiIP    = "10.96.0.1" // the kubernetes Service: the first of svc4
)

// Options are what differs between nodes.
type Options struct {
	Proxy string // kube-proxy's mode: "nftables" (also for "") or "iptables"
	// ImageVolumes: with a containerd that mounts images as volumes, in place of Debian's.
	ImageVolumes bool
	Say          func(format string, args ...any) // progress; may be nil
	// Built is when everything must have been built, which takes minutes the first time. Zero: never.
	Built time.Time
}

// Node is a running node. It belongs to this process: when the process ends, in whatever way, so
// does the node.
type Node struct {
	paths
	Options
	lock    *os.File
	init    *exec.Cmd // process 1
	tether  *os.File  // process 1 ends when this is closed
	netns   *os.File
	daemons map[string]*Daemon
	logs    *logKeeper

	Config *rest.Config         // as cluster administrator
	Client kubernetes.Interface // the same, ready made
}

// Up builds what is missing and starts a node, after clearing away what an earlier one may have
// left. It returns an error wrapping ErrUnavailable where this machine can't run one. The caller
// must call Down, also when another Up failed halfway: Up itself cleans up then.
func Up(ctx context.Context, o Options) (*Node, error) {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	if o.Proxy == "" {
		o.Proxy = "nftables"
	}
	if err := Require(ctx); err != nil {
		return nil, err
	}
	p, err := newPaths()
	if err != nil {
		return nil, err
	}
	n := &Node{paths: p, Options: o, daemons: map[string]*Daemon{}}
	if err := n.takeLock(ctx); err != nil {
		return nil, err
	}
	if err := n.up(ctx); err != nil {
		return nil, errors.Join(err, n.Down())
	}
	return n, nil
}

// takeLock waits for other processes' nodes to end.
func (n *Node) takeLock(ctx context.Context) error {
	if err := os.MkdirAll(n.cache, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(n.paths.lock(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	err = poll(ctx, 2*time.Minute, "the end of another run's node", func() error {
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	if err != nil {
		_ = f.Close()
		return err
	}
	n.lock = f
	return nil
}

func (n *Node) up(ctx context.Context) error {
	if err := n.build(ctx); err != nil {
		return err
	}
	if err := sweep(n.paths); err != nil {
		return err
	}
	started := time.Now()
	if err := n.make(); err != nil {
		return err
	}
	steps := []func(context.Context) error{n.openSpaces, n.startControlPlane, n.startWorker, n.waitReady}
	if err := writePKI(n.paths); err != nil {
		return err
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	n.logs = keepLogs(n.paths)
	n.Say("node up in %.1f s", time.Since(started).Seconds())
	return nil
}

// build builds in the time that there is for it.
func (n *Node) build(ctx context.Context) error {
	if !n.Built.IsZero() {
		var cancel func()
		ctx, cancel = context.WithDeadline(ctx, n.Built)
		defer cancel()
	}
	err := Build(ctx, n.Say)
	if err == nil && n.ImageVolumes {
		err = n.buildContainerd(ctx)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("building takes longer than go test's time limit: run it again, it goes on where it stopped, or give it -timeout 60m: %w", ctx.Err())
	}
	return err
}

// Down ends the node and removes its state. It is safe to call more than once.
func (n *Node) Down() error {
	if n == nil || n.lock == nil {
		return nil
	}
	if n.logs != nil {
		n.logs.close()
	}
	n.closeSpaces()
	for _, d := range n.daemons {
		end := d.end()
		if end == nil {
			continue // it never started
		}
		select {
		case <-end:
		case <-time.After(10 * time.Second):
			return fmt.Errorf("%s has not ended with the node", d.name)
		}
	}
	err := sweep(n.paths)
	_ = n.lock.Close()
	n.lock = nil
	return err
}

// start starts one of the node's own daemons.
func (n *Node) start(name string, argv ...string) error {
	d, err := n.StartDaemon(name, argv...)
	if err == nil {
		n.daemons[name] = d
	}
	return err
}

// StartDaemon starts a program in the node's namespaces. It ends with the node at the latest; its
// output is in DaemonLog.
func (n *Node) StartDaemon(name string, argv ...string) (*Daemon, error) {
	d := &Daemon{name: name, argv: argv, log: n.log(name), node: n}
	_ = os.Remove(d.log)
	return d, d.start()
}

// Daemon is one of the node's own: "etcd", "kube-apiserver", "kube-controller-manager",
// "kube-scheduler", "containerd", "dbus", "logind", "kubelet", "kube-proxy".
func (n *Node) Daemon(name string) *Daemon { return n.daemons[name] }

// Dir makes a directory that goes with the node, for what a scenario's daemons need.
func (n *Node) Dir(name string) (string, error) {
	dir := n.run("tmp", name)
	return dir, os.MkdirAll(dir, 0o755)
}

// aliveOr returns err, or why waiting for it is useless: one of the daemons has ended.
func (n *Node) aliveOr(err error) error {
	if err == nil {
		return nil
	}
	for _, d := range n.daemons {
		if dead := d.alive(); dead != nil {
			return fmt.Errorf("%w: %w", errFinal, dead)
		}
	}
	return err
}

// DaemonLog is what a daemon has said so far.
func (n *Node) DaemonLog(name string) string {
	text, err := os.ReadFile(n.log(name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
