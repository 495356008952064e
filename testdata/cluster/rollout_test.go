package cluster

import (
	"context"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"lull/testdata/cluster/load/report"
	"lull/testdata/cluster/node"
)

// rollouts is how many rolling updates each hook goes through.
func rollouts(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv("LULL_CLUSTER_ROLLOUTS")); err == nil && n > 0 {
		return n
	}
	// go test ends a test binary that outlives its time limit, and nothing in it can change that.
	if limit, ok := t.Deadline(); ok && time.Until(limit) < 20*time.Minute {
		t.Logf("2 rolling updates a hook instead of 10: there are only %s; see -timeout", time.Until(limit).Round(time.Second))
		return 2
	}
	return 10
}

// rollout is one rolling update under load.
type rollout struct {
	from, to time.Time
	failed   int
	held     []time.Duration
}

// series is what one hook made of its rollouts.
type series struct {
	Hook     string
	Proxy    string
	LetGo    bool // the keep-alive clients close their connections after a while
	Rollouts int
	Requests int
	Failed   int
	Worst    int // of one rollout
	Kinds    map[string]int
	HeldS    []float64 // each pod's, in seconds, sorted
	SlowestS float64   // the slowest request that did not fail
}

func (x series) median() float64 { return x.HeldS[len(x.HeldS)/2] }
func (x series) max() float64    { return x.HeldS[len(x.HeldS)-1] }

// updates is a series before it is run.
type updates struct {
	hook  hook
	proxy string
	letGo bool
	most  time.Duration // that lull may hold; 0: as long as it likes
}

func (u updates) name() string {
	name := u.hook.name
	if u.letGo {
		name += ", clients let go"
	}
	if u.proxy != "nftables" {
		name += ", " + u.proxy
	}
	return name
}

// TestRollingUpdate is a rolling update under load, hook by hook: 2 replicas, 200 new connections a
// second, 20 keep-alive clients. These never let go of their connections, or after 2 s, as most do.
func TestRollingUpdate(t *testing.T) {
	cluster(t)
	var all []series
	for _, u := range []updates{
		{hook: noHook, proxy: "nftables"},
		{hook: sleep(1), proxy: "nftables"},
		{hook: sleep(5), proxy: "nftables"},
		{hook: sleep(15), proxy: "nftables"},
		{hook: lullHook, proxy: "nftables"},
		{hook: lullHook, proxy: "nftables", letGo: true, most: 2*time.Second + window + prompt},
		{hook: drainHook, proxy: "nftables", most: 7 * time.Second},
		{hook: noHook, proxy: "iptables"},
		{hook: lullHook, proxy: "iptables"},
	} {
		n := rollouts(t)
		if u.proxy != "nftables" {
			n = min(3, n)
		}
		t.Run(u.name(), func(t *testing.T) { all = append(all, u.run(t, n)) })
	}
	saveFigures(t, "rollouts", all, seriesTable(all), seriesPicture(all))
}

// run runs n rollouts of one hook under continuous load.
func (u updates) run(t *testing.T, n int) series {
	s := newScene(t)
	s.proxy(u.proxy)
	s.deploy(workload{replicas: 2, hook: u.hook})
	flags := []string{"-target", s.expose("web", "app"), "-from", node.Clients, "-rate", "200", "-keepalive", "20"}
	if u.letGo {
		flags = append(flags, "-renew=2s")
	}
	load := s.load(flags...)
	var runs []rollout
	time.Sleep(time.Second) // so that the first rollout meets the load at its full height
	for range n {
		runs = append(runs, s.rollout("app"))
	}
	r := s.stop(load)
	x := u.sum(runs, r)
	t.Logf("%s: held %.1f s median, %.1f s max; %d failed, %d in the worst rollout; %s", u.name(), x.median(), x.max(), x.Failed, x.Worst, r)
	if u.hook.name == noHook.name && x.Failed == 0 {
		t.Error("no request fails without a hook: this load shows nothing")
	}
	if u.hook.command == nil {
		return x
	}
	for _, f := range r.Failures[:min(20, len(r.Failures))] {
		t.Errorf("lost: %s %s at %s: %s", f.Client, f.Kind, f.At.Format("15:04:05.000"), f.Text)
	}
	most := u.most
	if most == 0 {
		most = 20500 * time.Millisecond
	}
	for _, name := range s.deletedPods() {
		s.check(s.end(name), 0, window, most)
	}
	return x
}

// proxy puts kube-proxy into a mode for the length of the test.
func (s *scene) proxy(mode string) {
	s.Helper()
	before := s.node.Proxy
	if err := s.node.SetProxy(s.Context(), mode); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := s.node.SetProxy(context.Background(), before); err != nil {
			s.Error(err)
		}
	})
}

// rollout restarts a Deployment and returns once its old pods are gone.
func (s *scene) rollout(app string) rollout {
	s.Helper()
	old := s.live(app)
	r := rollout{from: time.Now()}
	s.restart(app)
	s.waitRollout(app)
	s.waitGone(90*time.Second, old...)
	r.to = time.Now()
	for _, pod := range old {
		r.held = append(r.held, s.end(pod).held())
	}
	return r
}

func (u updates) sum(runs []rollout, r report.Report) series {
	x := series{Hook: u.hook.name, Proxy: u.proxy, LetGo: u.letGo, Rollouts: len(runs), Requests: r.Total(), Failed: r.Failed, Kinds: r.Kinds, SlowestS: r.Slowest.Seconds()}
	for i := range runs {
		// A request may fail long after the rollout that lost it: it counts where it began.
		to := r.Ended
		if i+1 < len(runs) {
			to = runs[i+1].from
		}
		runs[i].failed = r.FailedBetween(runs[i].from, to)
		x.Worst = max(x.Worst, runs[i].failed)
		for _, held := range runs[i].held {
			x.HeldS = append(x.HeldS, held.Seconds())
		}
	}
	slices.Sort(x.HeldS)
	return x
}
