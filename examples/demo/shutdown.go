package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"
)

const (
	namespace = "default"
	service   = "web"
	leaving   = "web-a" // the pod that is deleted
	staying   = "web-b"
	// sliceDelay is how long after the deletion the endpoint changes: what a
	// real control plane took (14 to 35 ms).
	sliceDelay = 25 * time.Millisecond
	// minKill is the least that a container gets between SIGTERM and SIGKILL
	// (kubelet's pkg/kubelet/kuberuntime/kuberuntime_manager.go,
	// minimumGracePeriodInSeconds).
	minKill = 2 * time.Second
)

// plan is a shutdown but for the hook.
type plan struct {
	Lead   time.Duration // of traffic before the deletion, and at least after the pod has exited
	Lag    time.Duration // how late the proxy hears of it
	Length time.Duration // of traffic after the deletion, at least
	Grace  time.Duration // terminationGracePeriodSeconds

	Clients int           // of each kind
	Every   time.Duration // a client's pace
}

// row is what a run came to.
type row struct {
	Hook           string
	Exit           int // the hook's exit code
	Served, Failed int64
	Waited         time.Duration // from the deletion to the hook's end
}

// shutdown makes one run: two pods behind a proxy, clients, and then what API
// server, endpoint controller and kubelet do when a pod is deleted.
func (p plan) shutdown(ctx context.Context, dir string, h hook, out io.Writer) (row, error) {
	ctx, cancel := context.WithCancel(ctx)
	var owned sync.WaitGroup // goroutines and processes of this run
	defer owned.Wait()
	defer cancel()

	r := running{plan: p, owned: &owned, log: &eventLog{out: out}, objects: newStore()}
	for _, name := range []string{leaving, staying} {
		started, err := startPod(ctx, &owned, name)
		if err != nil {
			return row{}, err
		}
		if name == leaving {
			r.leaving = started
		}
		r.objects.put(pods, podObject(started, p.Grace, time.Time{}))
		r.objects.put(endpointSlices, sliceObject(started, false))
	}
	api, err := serveAPI(ctx, &owned, r.objects)
	if err != nil {
		return row{}, err
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := api.writeKubeconfig(kubeconfig); err != nil {
		return row{}, err
	}
	balancer, err := serveProxy(ctx, &owned, r.objects, p.Lag, r.log.say)
	if err != nil {
		return row{}, err
	}
	traffic := startLoad(ctx, balancer, p.Clients, p.Every)
	defer traffic.stop()
	traffic.keep(r.leaving.Port, balancer, p.Every)

	if !sleep(ctx, p.Lead) {
		return row{}, context.Cause(ctx)
	}
	result, err := r.delete(ctx, h.with(kubeconfig, r.leaving.Port))
	if err != nil {
		return row{}, err
	}
	if !sleep(ctx, max(p.Lead, time.Until(r.log.since.Add(p.Length)))) {
		return row{}, context.Cause(ctx)
	}
	traffic.stop()
	result.Served, result.Failed = traffic.served.Load(), traffic.failed.Load()
	if why := traffic.why(); why != "" {
		r.log.say(fmt.Sprintf("%d requests failed, the last with %s", result.Failed, why))
	}
	return result, nil
}

// running is one shutdown under way.
type running struct {
	plan
	owned   *sync.WaitGroup
	log     *eventLog
	objects *store
	leaving *pod
}

// delete deletes the leaving pod: the object changes, the endpoint shortly
// after, and at the same time the hook starts. SIGTERM follows when the hook has
// ended or the grace period is over.
func (r *running) delete(ctx context.Context, h hook) (row, error) {
	start := time.Now()
	r.log.begin(start)
	end := start.Add(r.Grace)
	r.objects.put(pods, podObject(r.leaving, r.Grace, end))
	r.log.say(leaving + " is deleted")
	// The endpoint controller, which doesn't wait for the hook or the pod.
	r.owned.Go(func() {
		if sleep(ctx, sliceDelay) {
			r.objects.put(endpointSlices, sliceObject(r.leaving, true))
		}
	})
	hookCtx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	exit, err := h.run(hookCtx, r.log.say)
	if ctx.Err() != nil {
		return row{}, context.Cause(ctx)
	}
	if err != nil {
		return row{}, err
	}
	result := row{Hook: h.Name, Exit: exit, Waited: time.Since(start)}
	if len(h.Argv) > 0 {
		r.log.say(fmt.Sprintf("%s exits with %d", h.Name, exit))
	}
	r.log.say("SIGTERM to " + leaving)
	killed, err := r.leaving.terminate(ctx, max(time.Until(end), minKill))
	if err != nil {
		return row{}, err
	}
	if killed {
		r.log.say(leaving + " had to be killed")
	} else {
		r.log.say(leaving + " has finished what it had, and exits")
	}
	return result, nil
}

// eventLog prints what happens, with the time since the deletion.
type eventLog struct {
	mu    sync.Mutex
	out   io.Writer
	since time.Time
}

func (l *eventLog) begin(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = at
}

func (l *eventLog) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "  %4.1fs  %s\n", time.Since(l.since).Seconds(), line)
}

// sleep returns false if ctx ends it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
