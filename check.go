package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"lull/kube"
)

const (
	// answerWithin is how long lull check waits for the API server.
	answerWithin = 5 * time.Second
	// checkedAtOnce is how many pods are asked about at a time.
	checkedAtOnce = 8

	waysToName = "pod/NAME, deploy/NAME, -l LABELS"
)

type checkCmd struct {
	hookFlags `embed:""`

	What     []string `arg:"" optional:"" placeholder:"pod/NAME|deploy/NAME" help:"Pods to check from anywhere: pod/NAME, or all of deploy, sts, ds, rs or svc/NAME. None: the pod that this runs in."`
	Selector string   `short:"l" placeholder:"LABELS" help:"Check the pods with these labels."`
	Format   string   `default:"auto" enum:"auto,text,json" env:"LULL_FORMAT" help:"text for a person, json one object a pod and line. auto: text."`
	Debug    bool     `env:"LULL_DEBUG" help:"Tell of each request to the API server, too, on stderr."`

	command []string // what the hook becomes afterwards
}

// Run prints a report a pod, and fails if the hook would lack anything.
func (c *checkCmd) Run(ctx context.Context) error {
	var reports []*report
	switch {
	case c.elsewhere():
		var err error
		if reports, err = c.remote(ctx); err != nil {
			return err
		}
	case isAimless(c.podFlags, c.socketFlags):
		return errors.New("which pod? name it: " + waysToName + "; or --port to check this machine's own sockets")
	default:
		reports = []*report{c.here(ctx)}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !printReports(c.Format, reports) {
		return codeError(exitError)
	}
	return nil
}

// isAimless reports whether nothing says what to look at: outside of a pod this machine may have
// nothing to do with any.
func isAimless(pod podFlags, sockets socketFlags) bool {
	return !inPod() && pod.Endpoints != "skip" && len(sockets.asked()) == 0
}

// elsewhere reports whether the pods are others than where this runs. Then its sockets, its network
// and its processes are not looked at: nothing of theirs may be told as the pod's.
func (c *checkCmd) elsewhere() bool {
	return len(c.What) > 0 || c.Selector != "" || c.podFlags.elsewhere()
}

// log tells of each request to the API server, if the user asked for that. All else is in the
// report.
func (c *checkCmd) log() *slog.Logger {
	if !c.Debug {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(handler(c.Format, true, level(c.Debug), os.Stderr))
}

// kubectl is the command up to the pod's name, for the pod and the cluster that the user means.
func (f podFlags) kubectl(verb string) string {
	command := "kubectl " + verb
	for _, flag := range []struct{ name, value string }{{"--kubeconfig", f.Kubeconfig}, {"--context", f.Context}, {"-n", f.Namespace}} {
		if flag.value != "" {
			command += " " + flag.name + " " + flag.value
		}
	}
	return command + " " + cmp.Or(f.Pod, "POD")
}

// here checks the pod, or the machine, that this runs in.
func (c *checkCmd) here(ctx context.Context) *report {
	r := &report{}
	k := &podCheck{flags: c, report: r, local: true}
	if inPod() {
		k.inquirer = c.inquirer(&r.Pod)
		defer k.close()
	}
	k.cluster(ctx)
	k.kernel(ctx)
	k.unseen()
	k.story()
	k.afterwards()
	k.plan()
	return r
}

// inquirer asks what a Watcher does not. What stands in its way stands in the Watcher's, who tells.
func (c *checkCmd) inquirer(pod *string) *kube.Inquirer {
	config, namespace, err := kube.Config(c.access())
	if err != nil || c.Endpoints == "skip" {
		return nil
	}
	id, err := c.identify(namespace)
	if err != nil {
		return nil
	}
	*pod = id.Namespace + "/" + id.Name
	inquirer, err := kube.NewInquirer(config, id.Namespace, c.log())
	if err != nil {
		return nil
	}
	return inquirer
}

// remote checks what the control plane says of pods that are elsewhere.
func (c *checkCmd) remote(ctx context.Context) ([]*report, error) {
	if c.Endpoints == "skip" {
		return nil, errors.New("with --endpoints=skip there is nobody to ask about a pod that is elsewhere")
	}
	c.likeKubectl = true
	config, namespace, err := kube.Config(c.access())
	if errors.Is(err, kube.ErrNoCluster) {
		return nil, errors.New("no cluster to ask about the pod: set KUBECONFIG or --kubeconfig, or run lull check in the pod")
	}
	if err != nil {
		return nil, err
	}
	if c.Namespace == "" {
		id, err := kube.Identify(kube.Sources{Pod: "any", ContextNamespace: namespace, Getenv: os.Getenv, Root: "/"})
		if err != nil {
			return nil, err
		}
		c.Namespace = id.Namespace
	}
	inquirer, err := kube.NewInquirer(config, c.Namespace, c.log())
	if err != nil {
		return nil, err
	}
	defer inquirer.Close()
	pods, err := c.pods(ctx, inquirer)
	if err != nil {
		return nil, err
	}
	reports := make([]*report, len(pods))
	var all sync.WaitGroup
	slots := make(chan struct{}, checkedAtOnce)
	for i, pod := range pods {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			one := *c
			one.Pod = pod
			reports[i] = &report{Pod: c.Namespace + "/" + pod}
			k := &podCheck{flags: &one, report: reports[i], inquirer: inquirer}
			k.cluster(ctx)
			k.report.say("sockets", "not looked at: they are the pod's: %s", k.inThePod())
			k.afterwards()
			if !k.unanswered {
				k.plan()
			}
		})
	}
	all.Wait()
	return reports, nil
}

// pods are the names of those to check.
func (c *checkCmd) pods(ctx context.Context, inquirer *kube.Inquirer) ([]string, error) {
	var names []string
	add := func(more []string, err error) error {
		for _, name := range more {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return err
	}
	if c.Pod != "" {
		names = append(names, c.Pod)
	}
	for _, what := range c.What {
		if err := add(inquirer.Find(ctx, what)); err != nil {
			return nil, err
		}
	}
	if c.Selector != "" {
		if err := add(inquirer.Select(ctx, c.Selector)); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("which pod of namespace %s? name it: %s", c.Namespace, waysToName)
	}
	return names, nil
}
