package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"lull/kube"
	"lull/procnet"
	"lull/wait"
)

// podCheck checks one pod.
type podCheck struct {
	flags    *checkCmd
	report   *report
	local    bool           // it runs in the pod
	inquirer *kube.Inquirer // nil: nobody to ask more than a hook asks

	view wait.View
	spec kube.Spec // zero: unknown

	unanswered     bool // who asks from elsewhere was not told all that the hook may be told
	withoutSockets bool // the sockets cannot be seen
}

func (k *podCheck) close() {
	if k.inquirer != nil {
		k.inquirer.Close()
	}
}

// inCluster reports whether the pod is in Kubernetes.
func (k *podCheck) inCluster() bool { return !k.local || inPod() }

// cluster reports what the control plane says.
func (k *podCheck) cluster(ctx context.Context) {
	control, answer := k.ask(ctx)
	if control.Cluster == nil {
		k.report.say("cluster", "not in Kubernetes, or not asked: the hook goes by the sockets alone")
		if k.inCluster() {
			k.report.lack("slices", "the EndpointSlices: --endpoints=skip, so the hook takes at least %s", k.flags.policy().SocketsAlone())
		}
		return
	}
	switch {
	case !k.local:
		k.report.say("pod", "%s", k.report.Pod)
	case control.who != "":
		k.report.say("pod", "%s", control.who)
	}
	if !k.local {
		answer.Err = untold(answer)
		k.unanswered = answer.Err != nil
	}
	k.view = k.flags.policy().Narrow(answer)
	if k.view.Err != nil {
		k.report.lack("cluster", "%v", k.view.Err)
	}
	if k.local || answer.SlicesKnown {
		k.rotation(ctx)
	}
	if k.local || k.view.PodKnown {
		k.rights(ctx)
	}
	if !k.view.PodKnown {
		if k.local {
			k.report.lack("pod", "the pod: grace period and probes are unknown")
		}
		return
	}
	k.containers()
	k.probes()
	k.place()
}

// ask asks the control plane what the hook would: the pod's spec says how the hook runs, so where
// that is about some Services alone it asks a second time.
func (k *podCheck) ask(ctx context.Context) (control controlPlane, answer wait.View) {
	open := func() {
		control = k.flags.podFlags.open(ctx, k.flags.log())
		defer control.Close()
		if control.Cluster != nil {
			answer = firstAnswer(ctx, control)
		}
	}
	open()
	if control.watcher == nil {
		return control, answer
	}
	before := k.flags.podFlags.asked()
	k.spec, _ = control.watcher.Spec()
	k.adopt()
	if !slices.Equal(before, k.flags.podFlags.asked()) {
		open()
	}
	return control, answer
}

// firstAnswer waits until the control plane has told all, or that it won't.
func firstAnswer(ctx context.Context, cluster wait.Cluster) wait.View {
	timeout := time.NewTimer(answerWithin)
	defer timeout.Stop()
	for {
		v, changed := cluster.View()
		if (v.SlicesKnown || v.SlicesRefused) && (v.PodKnown || v.Refused) {
			return v
		}
		select {
		case <-changed:
		case <-timeout.C:
			return v
		case <-ctx.Done():
			return v
		}
	}
}

// untold is what keeps whoever asks from elsewhere from knowing what the hook does, nil if nothing
// does. He has other rights than the hook, and another network: that he fails says nothing of it.
func untold(answer wait.View) error {
	of := "the hook"
	switch {
	case answer.PodKnown && answer.SlicesKnown:
		return nil
	case answer.PodKnown:
		of = "its rotation"
	}
	why := answer.Err
	if why == nil {
		why = fmt.Errorf("no answer from the API server within %s", answerWithin)
	}
	return fmt.Errorf("not known to you: %w (nothing is known of %s)", why, of)
}

// rotation reports what the Services make of the pod.
func (k *podCheck) rotation(ctx context.Context) {
	v := k.view
	if !v.SlicesKnown {
		k.report.say("rotation", "unknown")
		k.report.lack("slices", "the EndpointSlices: the hook goes by the sockets alone, for at least %s", k.flags.policy().SocketsAlone())
		return
	}
	if len(v.Services) == 0 {
		k.report.warn("rotation", "in no Service's EndpointSlices: nobody is told that the pod ends; if a Service is to lead here, compare its selector with the pod's labels")
	}
	for _, s := range v.Services {
		k.report.say("rotation", "Service %s: %s", s.Name, serviceText(s))
		if k.inquirer != nil {
			if notReady, err := k.inquirer.PublishesNotReady(ctx, s.Name); err == nil && notReady {
				k.report.warn("rotation", "Service %s has publishNotReadyAddresses: its slices will list the pod ready to the end, so the hook does not wait for them, "+
					"and its clients go on calling: publish them by another Service, for discovery alone", s.Name)
			}
		}
		if s.Unmanaged {
			k.report.warn("rotation", "Service %s: its slices are not the endpoint controller's, so nobody promises that they follow a deletion: the hook takes at least %s",
				s.Name, k.flags.policy().SocketsAlone())
		}
		if s.Ready+s.Coming+s.StandBy == 0 {
			k.alone(s)
		}
	}
	for _, line := range k.flags.policy().Unwatched(v) {
		k.report.warn("unwatched", "%s", line)
	}
}

// alone reports that no other endpoint could take the pod's traffic.
func (k *podCheck) alone(s wait.Service) {
	where := ""
	if s.Local {
		where = " on its node, where its traffic policy keeps traffic"
	}
	text := fmt.Sprintf("the pod is the only endpoint of Service %s%s: ", s.Name, where)
	switch k.view.Owner {
	case "":
		text += "nothing makes another one, so its requests fail once it ends: let a Deployment make two"
	case "StatefulSet", "DaemonSet":
		text += "a " + k.view.Owner + " makes another one only when it has ended, so requests fail in between: run two"
	default:
		text += "a replacement takes over only if it is ready within the budget: run two, or give it time"
	}
	k.report.warn("replicas", "%s", text)
}

// probes reports the readiness probes, and which addresses they are known by.
func (k *podCheck) probes() {
	var nodes []string
	if k.local {
		for _, a := range procnet.Gateways("/proc") {
			nodes = append(nodes, a.String())
		}
	}
	for _, a := range k.view.NodeAddrs {
		if !slices.Contains(nodes, a.String()) {
			nodes = append(nodes, a.String())
		}
	}
	from := "the node"
	if len(nodes) > 0 {
		from = fmt.Sprint(nodes)
	}
	for _, p := range k.view.Probes {
		switch {
		case p.Local && p.Port == 0:
			k.report.warn("probe", "readiness by a command every %s: what it connects to is not counted from loopback and %v, and a client there may pass for it; "+
				"httpGet, tcpSocket and grpc are told from clients better", p.Period, k.view.PodAddrs)
		case p.Local:
			k.report.say("probe", "readiness on :%d every %s, not counted from loopback and %v", p.Port, p.Period, k.view.PodAddrs)
		default:
			k.report.say("probe", "readiness on :%d every %s, not counted from %s", p.Port, p.Period, from)
		}
	}
}

// place reports what is peculiar about where the pod runs.
func (k *podCheck) place() {
	if k.view.HostNetwork {
		k.report.warn("network", "hostNetwork: the sockets are the node's, so the hook watches only the ports that the slices or the containers name, "+
			"and other clients on the node can pass for probes")
	}
	if f := k.forecast(); f.watchesNothing() {
		k.report.lack("network", "a port to watch: neither Services nor the containers name one, and hostNetwork has the node's beside it, so the hook sleeps for %s instead: set --port",
			f.policy.SleepInstead())
	}
}
