package main

import (
	"fmt"
	"slices"
	"strings"

	"lull/kube"
)

// containers reports what the containers do when the pod is told to stop: each gets its SIGTERM as
// soon as its own preStop hook has ended, whatever the others do (kubelet's
// pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainersWithSyncResult). Native sidecars
// get it after the others have ended.
func (k *podCheck) containers() {
	if k.spec.Name == "" {
		return
	}
	holder := k.holder()
	probed := false
	for _, c := range k.spec.Containers {
		probed = probed || c.Readiness != ""
		switch {
		case c.Sidecar:
		case heldByLull(c.Hook):
			k.held(c)
		case holder == nil:
			k.withoutLull(c)
		default:
			k.besideLull(c, holder.Name)
		}
	}
	if !probed {
		k.report.lack("readiness", "a readiness probe: without one the pod is ready as soon as it runs, so a rollout ends the old pod before the new one serves")
	}
	k.declared()
}

// holder is the first container that has lull for its hook.
func (k *podCheck) holder() *kube.Container {
	i := slices.IndexFunc(k.spec.Containers, func(c kube.Container) bool { return !c.Sidecar && heldByLull(c.Hook) })
	if i < 0 {
		return nil
	}
	return &k.spec.Containers[i]
}

// held reports on a container that lull holds back.
func (k *podCheck) held(c kube.Container) {
	k.report.say("hook", "container %s: %s", c.Name, strings.Join(c.Hook.Command, " "))
	if l, _ := findLull(c.Hook); l.by != "" {
		k.report.warn("hook", "container %s: its hook runs lull by way of %s: flags are read from the container's environment alone", c.Name, l.by)
	}
	k.token(c)
}

// withoutLull reports on a container of a pod that has no lull anywhere.
func (k *podCheck) withoutLull(c kube.Container) {
	_, other := findLull(c.Hook)
	switch {
	case other:
		k.report.lack("hook", "a hook that holds in container %s: %s is none", c.Name, hookText(c.Hook))
	case c.Hook.Kind == "":
		k.report.lack("hook", "a preStop hook in container %s: it gets SIGTERM at once, while clients are still sent to it", c.Name)
	case c.Hook.Kind == "sleep":
		k.report.lack("hook", "lull in container %s: its hook sleeps for %s, whatever arrives", c.Name, c.Hook.Sleep)
	default:
		k.report.lack("hook", "lull in container %s: its hook is %s", c.Name, hookText(c.Hook))
	}
}

// besideLull reports on a container whose neighbour is held back by lull. If traffic goes through
// both, the first of them to get SIGTERM loses it.
func (k *podCheck) besideLull(c kube.Container, holder string) {
	budget := k.forecast().budget()
	_, other := findLull(c.Hook)
	var text string
	switch {
	case other:
		text = fmt.Sprintf("a hook that holds in container %s: %s is none, and it gets SIGTERM while lull still holds %s", c.Name, hookText(c.Hook), holder)
	case c.Hook.Kind == "":
		text = fmt.Sprintf("a preStop hook in container %s: it gets SIGTERM at once, while lull still holds %s", c.Name, holder)
	case c.Hook.Kind == "sleep" && c.Hook.Sleep < budget:
		text = fmt.Sprintf("lull in container %s: it sleeps for %s and then gets SIGTERM, while lull may hold %s for %s", c.Name, c.Hook.Sleep, holder, budget)
	case c.Hook.Kind == "sleep":
		return
	default:
		k.report.warn("hook", "container %s: how long its own hook holds it is unknown (%s); put lull before it: %s -- COMMAND", c.Name, hookText(c.Hook), k.lullPath())
		return
	}
	if k.onPath(c) {
		k.report.lack("hook", "%s", text)
	} else {
		k.report.warn("hook", "if traffic goes through it, %s", text)
	}
}

func hookText(h kube.PreStop) string {
	if h.Kind == "exec" {
		return strings.Join(h.Command, " ")
	}
	return "of kind " + h.Kind
}

// onPath reports whether the container declares one of the ports that clients come to.
func (k *podCheck) onPath(c kube.Container) bool {
	ports := k.flags.policy().Watched(k.view)
	return slices.ContainsFunc(c.Ports, func(p kube.Port) bool { return slices.Contains(ports, p.Number) })
}

// token reports whether the hook can ask the API server at all.
func (k *podCheck) token(c kube.Container) {
	if !k.local && !c.Token {
		k.report.lack("token", "a service account token in container %s (automountServiceAccountToken: false?): the hook goes by the sockets alone, for at least %s",
			c.Name, k.flags.policy().SocketsAlone())
	}
}

// declared reports ports of Services to which no container listens, by what the containers declare.
// They need not declare any, so the sockets tell better.
func (k *podCheck) declared() {
	if k.local || len(k.view.Declared) == 0 {
		return
	}
	for _, p := range k.view.Ports {
		if !slices.Contains(k.view.Declared, p.Number) {
			name := ""
			if p.Name != "" {
				name = " (" + p.Name + ")"
			}
			k.report.warn("ports", "a Service leads to :%d%s, which no container declares; they declare %v: see what listens with %s",
				p.Number, name, k.view.Declared, k.inThePod())
		}
	}
}
