package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"lull/kube"
	"lull/procnet"
	"lull/wait"
)

// The policy declares what it wants to know, kube and procnet tell what they know, and neither has
// heard of the other: here they are joined.

// controlPlane is what is asked about the pod.
type controlPlane struct {
	wait.Cluster               // nil: there is none to ask
	who          string        // the pod, and how it was found
	watcher      *kube.Watcher // behind it; nil if it cannot even be asked
	close        func()
}

// Close ends what open began, and waits for it.
func (c controlPlane) Close() {
	if c.close != nil {
		c.close()
	}
}

// open asks the control plane from now on, until Close or the end of ctx.
func (f podFlags) open(ctx context.Context, log *slog.Logger) controlPlane {
	if f.Endpoints == "skip" {
		return controlPlane{}
	}
	config, namespace, err := kube.Config(f.access())
	if errors.Is(err, kube.ErrNoCluster) {
		log.Info("not in Kubernetes: going by the sockets alone", "event", "no-cluster")
		return controlPlane{}
	}
	if err != nil {
		return controlPlane{Cluster: refused{err}}
	}
	id, err := f.identify(namespace)
	if err != nil {
		return controlPlane{Cluster: refused{err}}
	}
	watcher, err := kube.NewWatcher(config, id, kube.Options{Services: f.asked(), Log: log})
	if err != nil {
		return controlPlane{Cluster: refused{err}}
	}
	who := id.Namespace + "/" + id.Name + " (" + strings.Join(id.From, ", ") + ")"
	log.Info("pod "+who, "event", "identity", "namespace", id.Namespace, "pod", id.Name, "uid", id.UID)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watcher.Run(ctx)
	}()
	return controlPlane{Cluster: cluster{watcher}, who: who, watcher: watcher, close: func() { stop(); <-done }}
}

// access is how the API server is reached.
func (f podFlags) access() kube.Access {
	return kube.Access{Kubeconfig: f.Kubeconfig, Context: f.Context, LikeKubectl: f.likeKubectl}
}

// identify finds out which pod this is.
func (f podFlags) identify(namespace string) (kube.Identity, error) {
	host, err := os.Hostname()
	if err != nil {
		return kube.Identity{}, err
	}
	return kube.Identify(kube.Sources{
		Namespace: f.Namespace, Pod: f.Pod, ContextNamespace: namespace,
		Getenv: os.Getenv, Hostname: host, Root: "/",
	})
}

// refused stands for a cluster that cannot even be asked.
type refused struct{ err error }

func (r refused) View() (wait.View, <-chan struct{}) {
	return wait.View{Err: r.err, Refused: true, SlicesRefused: true}, nil
}

// cluster shows a pod's watcher to the policy.
type cluster struct{ *kube.Watcher }

func (c cluster) View() (wait.View, <-chan struct{}) {
	v, changed := c.Watcher.View()
	return waitView(v), changed
}

// waitView carries every field over: a test sees to it.
func waitView(v kube.View) wait.View {
	view := wait.View{
		SlicesKnown: v.SlicesKnown, PodKnown: v.PodKnown, Contact: v.Contact, SlicesContact: v.SlicesContact, Asked: v.Asked, Err: v.Err,
		Refused: v.Refused, SlicesRefused: v.SlicesRefused,
		Deleting: v.Deleting, Ended: v.Ended, Grace: v.Grace, RestartGrace: v.RestartGrace,
		Restartable: v.Restartable, Owner: v.Owner,
		HostNetwork: v.HostNetwork, NodeAddrs: v.NodeAddrs, PodAddrs: v.PodAddrs, Declared: v.Declared,
		Named: v.Named,
	}
	for _, p := range v.Probes {
		view.Probes = append(view.Probes, wait.Probe(p))
	}
	for _, p := range v.Live {
		view.Live = append(view.Live, wait.Probe(p))
	}
	for _, s := range v.Services {
		view.Services = append(view.Services, wait.Service(s))
	}
	for _, p := range v.Ports {
		view.Ports = append(view.Ports, wait.Port(p))
	}
	return view
}

// openSockets is the kernel's side.
type openSockets struct {
	wait.Sockets // nil: they cannot be seen
	source       procnet.Source

	notNamed   error  // why it is not the source that --source names
	notNetlink string // why it is not netlink
}

// Close closes what open opened.
func (s openSockets) Close() {
	if s.source != nil {
		s.source.Close()
	}
}

// openSource opens the source that the flags name, or failing that the other one. The error is that
// of procnet.Open.
func (f socketFlags) openSource() (s openSockets, err error) {
	source, why, err := procnet.Open(f.Source)
	if err != nil && f.Source != "auto" && !errors.Is(err, procnet.ErrUnsupported) {
		s.notNamed = fmt.Errorf("--source=%s is not available here, taking the other one: %w", f.Source, err)
		source, why, err = procnet.Open("auto")
	}
	if err != nil {
		return s, err
	}
	s.Sockets, s.source, s.notNetlink = sockets{source}, source, why
	return s, nil
}

// open opens the source that the flags name, or failing that the other one. The story says which
// cannot be had. The only error is procnet.ErrUnsupported.
func (f socketFlags) open(log *slog.Logger) (openSockets, error) {
	s, err := f.openSource()
	if s.notNamed != nil {
		log.Warn(s.notNamed.Error(), "event", "missing")
	}
	switch {
	case errors.Is(err, procnet.ErrUnsupported):
		return openSockets{}, err
	case err != nil:
		log.Warn("no view of the sockets: "+err.Error(), "event", "missing")
		return openSockets{}, nil //nolint:nilerr // told; the policy has a way to go on without
	case s.notNetlink != "":
		log.Warn("no netlink, watching the sockets through /proc: "+s.notNetlink, "event", "missing")
	}
	return s, nil
}

// sockets shows a source to the policy.
type sockets struct{ procnet.Source }

func (s sockets) Arrivals(ctx context.Context, ports []uint16, yield func(wait.Arrival), open func(wait.Conn)) (listed bool, err error) {
	var list func(procnet.Conn)
	if open != nil {
		list = func(c procnet.Conn) { open(wait.Conn(c)) }
	}
	return s.Source.Arrivals(ctx, ports, func(a procnet.Arrival) { yield(waitArrival(a)) }, list)
}

var waitKinds = map[procnet.Kind]wait.Kind{
	procnet.Connection: wait.Connection, procnet.Request: wait.Request, procnet.Dropped: wait.Dropped,
	procnet.Lost: wait.Lost, procnet.Waiting: wait.Waiting,
}

// waitArrival carries every field over: a test sees to it.
func waitArrival(a procnet.Arrival) wait.Arrival {
	return wait.Arrival{At: a.At, Kind: waitKinds[a.Kind], Conn: a.Conn, Opened: a.Opened, Port: a.Port, Peer: a.Peer, Count: a.Count, Since: a.Since}
}
