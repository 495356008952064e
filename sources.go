package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"lull/kube"
	"lull/procnet"
	"lull/wait"
)

// The policy declares what it wants to know, kube and procnet tell what they
// know, and neither has heard of the other: here they are joined.

// cluster shows a pod's watcher to the policy, narrowed to what the user asked
// about.
type cluster struct {
	watcher interface {
		View() (kube.View, <-chan struct{})
	}
	who      string   // the pod, and how it was found
	services []string // empty: all
	ports    []port   // empty: those that the slices name
	found    bool     // one of the services names the pod, or did
}

// refused stands for a cluster that can't even be asked.
type refused struct{ err error }

func (r refused) View() (wait.View, <-chan struct{}) {
	return wait.View{Err: r.err, Refused: true, SlicesRefused: true}, nil
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

// watch asks the control plane from now on until ctx is done; ended waits for
// the last goroutine of that. A nil cluster means that there is none to ask.
func (f podFlags) watch(ctx context.Context, ports []port, log *slog.Logger) (c wait.Cluster, ended func()) {
	ended = func() {}
	if f.Endpoints == "skip" {
		return nil, ended
	}
	config, namespace, err := kube.Config(f.Kubeconfig)
	if errors.Is(err, kube.ErrNoCluster) {
		log.Info("not in Kubernetes: going by the sockets alone", "event", "no-cluster")
		return nil, ended
	}
	if err != nil {
		return refused{err}, ended
	}
	id, err := f.identify(namespace)
	if err != nil {
		return refused{err}, ended
	}
	watcher, err := kube.NewWatcher(config, id, kube.Options{Services: asked(f.Service, "all")})
	if err != nil {
		return refused{err}, ended
	}
	who := id.Namespace + "/" + id.Name + " (" + strings.Join(id.From, ", ") + ")"
	log.Info("pod "+who, "event", "identity", "namespace", id.Namespace, "pod", id.Name, "uid", id.UID)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watcher.Run(ctx)
	}()
	return &cluster{watcher: watcher, who: who, services: asked(f.Service, "all"), ports: named(ports)}, func() { <-done }
}

// asked is what the user named; nothing if that was the word for all.
func asked(names []string, all string) []string {
	if slices.Contains(names, all) {
		return nil
	}
	return names
}

func named(ports []port) []port {
	if slices.ContainsFunc(ports, func(p port) bool { return p.name == "auto" }) {
		return nil
	}
	return ports
}

// numbers are the ports to watch as long as no slice tells what the names mean:
// all that listen, if there is a name.
func numbers(ports []port) []uint16 {
	var n []uint16
	for _, p := range named(ports) {
		if p.number == 0 {
			return nil
		}
		n = append(n, p.number)
	}
	return n
}

func (c *cluster) View() (wait.View, <-chan struct{}) {
	v, changed := c.watcher.View()
	view := wait.View{
		SlicesKnown: v.SlicesKnown, PodKnown: v.PodKnown, Contact: v.Contact, Err: v.Err,
		Refused: v.Refused, SlicesRefused: v.SlicesRefused,
		Deleting: v.Deleting, Ended: v.Ended, Disrupted: v.Disrupted, Grace: v.Grace, NodeAddrs: v.NodeAddrs,
		Ports: c.resolve(v.Ports),
	}
	for _, p := range v.Probes {
		view.Probes = append(view.Probes, wait.Probe(p))
	}
	for _, s := range v.Services {
		view.Services = append(view.Services, wait.Service(s))
	}
	c.found = c.found || len(view.Services) > 0
	if view.SlicesKnown && len(c.services) > 0 && !c.found {
		// A typo must not pass for a pod that is out of rotation.
		view.SlicesKnown, view.Refused, view.SlicesRefused = false, true, true
		view.Err = fmt.Errorf("no EndpointSlice of Service %s names this pod: check --service", strings.Join(c.services, ", "))
	}
	return view, changed
}

// resolve turns the user's ports into numbers, or takes all that the slices
// name. One name that no slice knows, and every listening port is watched.
func (c *cluster) resolve(known []kube.Port) []uint16 {
	var n []uint16
	if len(c.ports) == 0 {
		for _, k := range known {
			n = append(n, k.Number)
		}
		return n
	}
	for _, p := range c.ports {
		if p.number != 0 {
			n = append(n, p.number)
			continue
		}
		before := len(n)
		for _, k := range known {
			if k.Name == p.name {
				n = append(n, k.Number)
			}
		}
		if len(n) == before {
			return nil
		}
	}
	return n
}

// sockets shows a source to the policy.
type sockets struct{ procnet.Source }

// open opens the source that the flags name, or failing that the other one. Nil
// without an error: neither can be had, and the story says so. The only error is
// procnet.ErrUnsupported.
func (f socketFlags) open(log *slog.Logger) (wait.Sockets, error) {
	source, why, err := procnet.Open(f.Source)
	if err != nil && f.Source != "auto" && !errors.Is(err, procnet.ErrUnsupported) {
		log.Warn("--source="+f.Source+" can't be had, taking what can: "+err.Error(), "event", "missing")
		source, why, err = procnet.Open("auto")
	}
	switch {
	case errors.Is(err, procnet.ErrUnsupported):
		return nil, err
	case err != nil:
		log.Warn("no view of the sockets: "+err.Error(), "event", "missing")
		return nil, nil //nolint:nilerr // told; the policy has a way to go on without
	case why != "":
		log.Warn("no netlink, watching the sockets through /proc: "+why, "event", "missing")
	}
	return sockets{source}, nil
}

func (s sockets) Arrivals(ctx context.Context, ports []uint16, yield func(wait.Arrival)) error {
	return s.Source.Arrivals(ctx, ports, func(a procnet.Arrival) { yield(arrival(a)) })
}

func (s sockets) Queued(ctx context.Context, ports []uint16, yield func(wait.Queue)) error {
	queues, err := s.Source.Queued(ctx, ports)
	for _, q := range queues {
		yield(wait.Queue{Port: q.Port, Len: q.Len})
	}
	return err
}

func arrival(a procnet.Arrival) wait.Arrival {
	kind := wait.Lost
	switch a.Kind {
	case procnet.Connection:
		kind = wait.Connection
	case procnet.Request:
		kind = wait.Request
	case procnet.Dropped:
		kind = wait.Dropped
	}
	return wait.Arrival{At: a.At, Kind: kind, Conn: a.Conn, Opened: a.Opened, Port: a.Port, Peer: a.Peer, Count: a.Count}
}
