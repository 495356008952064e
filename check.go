package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"lull/procnet"
	"lull/wait"
)

// answerWithin is how long lull check waits for the API server.
const answerWithin = 5 * time.Second

type checkCmd struct {
	policyFlags `embed:""`
	podFlags    `embed:""`
	socketFlags `embed:""`
}

// Run prints a report, and fails if the hook would lack anything.
func (c *checkCmd) Run(ctx context.Context) error {
	r := &report{}
	away := c.Pod != "" && !inPod()
	view := c.control(ctx, r)
	if away {
		r.say("sockets", "not looked at: they are the pod's, run lull check in it")
	} else {
		c.kernel(ctx, r, view)
		r.log()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.plan(r, view)
	r.print()
	if len(r.lacks) > 0 {
		return codeError(exitError)
	}
	return nil
}

// report is what lull check has found out.
type report struct {
	rows  [][2]string
	lacks []string
}

func (r *report) say(what, format string, args ...any) {
	r.rows = append(r.rows, [2]string{what, fmt.Sprintf(format, args...)})
}

func (r *report) lack(format string, args ...any) {
	r.lacks = append(r.lacks, fmt.Sprintf(format, args...))
}

func (r *report) print() {
	if len(r.lacks) == 0 {
		r.say("lacks", "nothing")
	}
	for _, l := range r.lacks {
		r.say("lacks", "%s", l)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range r.rows {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	w.Flush()
}

// control reports what the control plane says.
func (c *checkCmd) control(ctx context.Context, r *report) wait.View {
	ctx, stop := context.WithCancel(ctx)
	control, ended := c.podFlags.watch(ctx, c.Port, slog.New(slog.DiscardHandler))
	defer ended()
	defer stop()
	switch known := control.(type) {
	case nil:
		r.say("cluster", "not in Kubernetes, or not asked: the hook goes by the sockets alone")
		if inPod() {
			r.lack("the EndpointSlices: --endpoints=skip, so the hook takes at least %s", 2*c.Quiet)
		}
		return wait.View{Ports: numbers(c.Port)}
	case *cluster:
		r.say("pod", "%s", known.who)
	}
	v := firstAnswer(ctx, control)
	if v.Err != nil {
		r.lack("%v", v.Err)
	}
	if !v.SlicesKnown {
		r.say("rotation", "unknown")
		r.lack("the EndpointSlices: the hook goes by the sockets alone, for at least %s", 2*c.Quiet)
		v.Ports = numbers(c.Port)
	}
	if v.SlicesKnown && len(v.Services) == 0 {
		r.say("rotation", "in no Service's EndpointSlices")
	}
	for _, s := range v.Services {
		r.say("rotation", "Service %s: %s", s.Name, serviceText(s))
	}
	if v.PodKnown {
		nodes := append(procnet.Gateways("/proc"), v.NodeAddrs...)
		for _, p := range v.Probes {
			r.say("probe", "readiness on :%d every %s, not counted from %v", p.Port, p.Period, nodes)
		}
	} else {
		r.lack("the pod: grace period and probes are unknown")
	}
	return v
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

// kernel reports what the kernel shows of the sockets.
func (c *checkCmd) kernel(ctx context.Context, r *report, v wait.View) {
	source, why, err := procnet.Open(c.Source)
	if err != nil {
		r.say("sockets", "can't be seen")
		r.lack("the sockets: %v; the hook sleeps for 15s, or --quiet if that is longer", err)
		return
	}
	defer source.Close()
	r.say("sockets", "%s", source.Name())
	if why != "" {
		r.lack("netlink: %s; /proc takes the whole pod's traffic for the ports'", why)
	}
	queues, err := source.Queued(ctx, v.Ports)
	if err != nil {
		r.lack("the accept queues: %v", err)
	}
	for _, q := range queues {
		r.say("listening", ":%d, %d waiting in the accept queue", q.Port, q.Len)
	}
	if len(queues) == 0 && err == nil {
		r.lack("a listening socket on the ports %v", v.Ports)
	}
}

// log reports where the story goes.
func (r *report) log() {
	f, err := openLog("auto", false)
	if f == nil || err != nil {
		r.say("story", "stderr alone, which the kubelet throws away")
		return
	}
	f.Close()
	r.say("story", "stderr, and the container's log")
}

// plan reports what the hook would do.
func (c *checkCmd) plan(r *report, v wait.View) {
	grace := "unknown, taken for " + wait.DefaultGrace.String()
	if v.PodKnown {
		grace = v.Grace.String()
	}
	policy := c.policy()
	budget := policy.Budget(v)
	r.say("budget", "%s (grace period %s)", budget, grace)
	switch {
	case v.PodKnown && !v.Deleting:
		r.say("now", "the pod is not being deleted: a hook that ran now, as for a restart of its container, would exit after half a second while the pod is in rotation")
	case v.Deleting:
		r.say("now", "the pod is being deleted")
	}
	if least := policy.Least(!v.SlicesKnown && (inPod() || c.Pod != "")); least > budget {
		r.lack("time: at least %s of waiting don't fit into the budget of %s", least, budget)
	}
	r.say("plan", "hold SIGTERM until the pod is out of rotation and nothing has arrived for %s, for %s at most", c.Quiet, budget)
}
