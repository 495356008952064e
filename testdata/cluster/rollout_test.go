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

// TestRollingUpdate is a rolling update under load, hook by hook: 2 replicas, 200 new connections a
// second, 20 keep-alive clients.
func TestRollingUpdate(t *testing.T) {
	cluster(t)
	var all []series
	for _, h := range []hook{noHook, sleep(1), sleep(5), sleep(15), lullHook} {
		t.Run(h.name, func(t *testing.T) { all = append(all, rollingUpdates(t, h, "nftables", rollouts(t))) })
	}
	for _, h := range []hook{noHook, lullHook} {
		t.Run(h.name+", iptables", func(t *testing.T) { all = append(all, rollingUpdates(t, h, "iptables", min(3, rollouts(t)))) })
	}
	saveFigures(t, "rollouts", all, seriesTable(all), seriesPicture(all))
}

// rollingUpdates runs n rollouts of one hook under continuous load.
func rollingUpdates(t *testing.T, h hook, proxy string, n int) series {
	s := newScene(t)
	s.proxy(proxy)
	s.deploy(workload{replicas: 2, hook: h})
	address := s.expose("web", "app")
	load := s.load("-target", address, "-from", node.Clients, "-rate", "200", "-keepalive", "20")
	var runs []rollout
	time.Sleep(time.Second) // so that the first rollout meets the load at its full height
	for range n {
		runs = append(runs, s.rollout("app"))
	}
	r := s.stop(load)
	x := sum(h, proxy, runs, r)
	t.Logf("%s: held %.1f s median, %.1f s max; %d failed, %d in the worst rollout; %s", h.name, x.median(), x.max(), x.Failed, x.Worst, r)
	if h.command != nil {
		if x.Failed > 0 {
			for _, f := range r.Failures[:min(20, len(r.Failures))] {
				t.Errorf("lost: %s %s at %s: %s", f.Client, f.Kind, f.At.Format("15:04:05.000"), f.Text)
			}
		}
		for _, name := range s.deletedPods() {
			s.check(s.end(name), 0, 5*time.Second, 20500*time.Millisecond)
		}
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

func sum(h hook, proxy string, runs []rollout, r report.Report) series {
	x := series{Hook: h.name, Proxy: proxy, Rollouts: len(runs), Requests: r.Total(), Failed: r.Failed, Kinds: r.Kinds, SlowestS: r.Slowest.Seconds()}
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
