package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lull/procnet"
	"lull/wait"
)

// kernel reports what the kernel shows of the sockets.
func (k *podCheck) kernel(ctx context.Context) {
	sockets, err := k.flags.openSource()
	if sockets.notNamed != nil {
		k.report.warn("sockets", "%v", sockets.notNamed)
	}
	switch {
	case errors.Is(err, procnet.ErrUnsupported):
		k.report.lack("sockets", "%v, and so does the hook", err)
		return
	case err != nil:
		k.withoutSockets = true
		k.report.say("sockets", "cannot be seen")
		k.report.lack("sockets", "the sockets: %v; the hook sleeps for %s instead", err, k.flags.policy().SleepInstead())
		return
	}
	defer sockets.Close()
	source := sockets.source
	k.report.say("sockets", "%s", source.Name())
	if why := sockets.notNetlink; why != "" {
		k.report.lack("netlink", "netlink: %s; /proc takes the whole pod's traffic for the ports'", strings.TrimPrefix(why, "netlink: "))
	}
	f := k.forecast()
	if f.watchesNothing() {
		return // told of the network: what listens is the node's
	}
	ports := f.policy.Watched(f.view)
	queues, err := source.Queued(ctx, ports)
	if err != nil {
		k.report.lack("sockets", "the accept queues: %v", err)
		return
	}
	for _, q := range queues {
		k.report.say("listening", ":%d, %d of a backlog of %d waiting in the accept queue", q.Port, q.Len, q.Backlog)
	}
	k.silent(ctx, source, ports, queues)
}

// silent reports the watched ports on which nothing listens, or nothing that a Service's traffic
// can reach, and what does listen.
func (k *podCheck) silent(ctx context.Context, source procnet.Source, ports []uint16, queues []procnet.Queue) {
	reachable, err := source.Queued(ctx, nil)
	if err != nil {
		k.report.lack("sockets", "the listening sockets: %v", err)
		return
	}
	var missing []uint16
	for _, port := range ports {
		switch {
		case !listens(queues, port):
			missing = append(missing, port)
		case !listens(reachable, port) && k.leadsTo(port):
			k.report.warn("listening", ":%d listens on loopback alone, where no Service leads unless a proxy in the pod passes its traffic on", port)
		}
	}
	if len(missing) == 0 && len(queues) > 0 {
		return
	}
	text := fmt.Sprintf("a listening socket on the ports %v%s", missing, k.portNames(missing))
	if len(ports) == 0 {
		text = "a listening socket that is not on loopback alone"
	}
	var others []string
	for _, q := range reachable {
		others = append(others, fmt.Sprintf(":%d", q.Port))
	}
	if len(others) > 0 {
		text += "; what listens is " + strings.Join(others, ", ")
	}
	k.report.lack("listening", "%s", text)
}

func listens(queues []procnet.Queue, port uint16) bool {
	return slices.ContainsFunc(queues, func(q procnet.Queue) bool { return q.Port == port })
}

// leadsTo reports whether a Service sends its clients to the port.
func (k *podCheck) leadsTo(port uint16) bool {
	return slices.ContainsFunc(k.view.Ports, func(p wait.Port) bool { return p.Number == port })
}

// portNames names the ports as the Services do.
func (k *podCheck) portNames(ports []uint16) string {
	var names []string
	for _, p := range k.view.Ports {
		if p.Name != "" && slices.Contains(ports, p.Number) {
			names = append(names, fmt.Sprintf("%s is :%d", p.Name, p.Number))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// unseen reports traffic that TCP sockets do not show.
func (k *podCheck) unseen() {
	if k.view.HostNetwork {
		return // the sockets are the node's
	}
	for _, line := range procnet.Unseen("/proc") {
		k.report.warn("unseen", "%s", line)
	}
}

// afterwards reports what the hook asks of others, as far as that can be seen from here.
func (k *podCheck) afterwards() {
	d, command := k.flags.Drain, k.flags.command
	switch {
	case d != nil && k.local:
		k.drain(d)
	case d != nil:
		k.report.say("drain", "not looked at: whether the app takes --drain can be checked only in the pod")
	}
	switch {
	case len(command) > 0 && k.local:
		if path, err := exec.LookPath(command[0]); err != nil {
			k.report.lack("command", "the command afterwards: %v", err)
		} else {
			k.report.say("command", "%s", path)
		}
	case len(command) > 0:
		k.report.say("command", "not looked at: whether %s can be run can be checked only in the pod", command[0])
	}
}

// drain reports who is asked to let the clients go.
func (k *podCheck) drain(d *drainer) {
	if d.url != nil {
		if err := d.checkOwn(); err != nil {
			k.report.lack("drain", "--drain: %v", err)
		} else {
			k.report.say("drain", "%s %s", d.method, d.url)
		}
		return
	}
	p, err := d.target()
	if err != nil {
		k.report.lack("drain", "--drain: %v", err)
		return
	}
	k.report.say("drain", "%s to %s", unix.SignalName(d.signal), p)
	if p.mayEndBy(d.signal) {
		k.report.warn("drain", "--drain: %s ends %s unless the app itself handles it, which cannot be seen from here: try it with kill, or use a URL or, in Go, SIGUSR1 with signal.Notify",
			unix.SignalName(d.signal), p)
	}
}

// story reports where the story goes.
func (k *podCheck) story() {
	f, err := openLog("auto", false)
	switch {
	case f != nil && err == nil:
		f.Close()
		k.report.say("story", "stderr, and the container's log")
	case inPod():
		k.report.warn("story", "stderr alone, which the kubelet throws away: the container's first process has a stderr that cannot be opened, as another user's")
	default:
		k.report.say("story", "stderr")
	}
}
