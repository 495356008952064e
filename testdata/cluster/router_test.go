package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"io"
	"lull/testdata/cluster/node"
	"net/http"
)

// router is an ingress: a proxy that pools keep-alive connections to the pods and is reloaded when
// they change. It answers /pods by itself: with the pods that it knows.
type router struct {
	name   string
	argv   func(dir string) []string
	reload syscall.Signal
	config func(dir, listen string, pods []string) string
}

// Neither tries another pod when one fails it: what a late router loses is to be seen, and not
// every request may be sent twice.
var routers = []router{
	{"nginx",
		func(dir string) []string {
			return []string{"nginx", "-p", dir, "-c", filepath.Join(dir, "config"), "-e", "stderr"}
		},
		syscall.SIGHUP, nginxConfig},
	// -W: a master process that reloads on SIGUSR2; the new workers get the listening sockets from
	// the old ones.
	{"haproxy",
		func(dir string) []string { return []string{"haproxy", "-W", "-f", filepath.Join(dir, "config")} },
		syscall.SIGUSR2, haproxyConfig},
}

func nginxConfig(dir, listen string, pods []string) string {
	var servers strings.Builder
	for _, pod := range pods {
		fmt.Fprintf(&servers, "server %s max_fails=0; ", pod)
	}
	var temp strings.Builder
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s/%s; ", what, dir, what)
	}
	return fmt.Sprintf(`daemon off; user root; worker_processes 1; pid %[1]s/pid; error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off; %[4]s
  upstream pods { %[3]s keepalive 32; }
  server {
    listen %[2]s backlog=4096;
    location = /pods { return 200 "%[5]s"; }
    location / {
      proxy_pass http://pods; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_connect_timeout 2s; proxy_next_upstream off;
    }
  }
}
`, dir, listen, servers.String(), temp.String(), strings.Join(pods, ","))
}

func haproxyConfig(dir, listen string, pods []string) string {
	var servers strings.Builder
	for i, pod := range pods {
		fmt.Fprintf(&servers, "  server pod%d %s\n", i, pod)
	}
	return fmt.Sprintf(`global
  maxconn 4096
  stats socket %s/stats expose-fd listeners
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  retries 0
  http-reuse always
frontend in
  bind %s backlog 4096
  http-request return status 200 content-type text/plain string "%s" if { path /pods }
  default_backend pods
backend pods
%s`, dir, listen, strings.Join(pods, ","), servers.String())
}

// keepaliveWait is lull's default. A router that is told later than that and keeps its connections
// loses requests, unless the app is asked to let its clients go.
const keepaliveWait = 15 * time.Second

// slowRouter is the figures of one router under one hook.
type slowRouter struct {
	Router   string
	DelayS   float64
	Hook     string
	Requests int
	Failed   int
	HeldS    []float64
}

// TestSlowRouter is a rolling update behind an ingress that hears of changes late.
func TestSlowRouter(t *testing.T) {
	cluster(t)
	var all []slowRouter
	figures := make(chan slowRouter, 64)
	t.Run("all", func(t *testing.T) {
		port := 8200
		for _, r := range routers {
			for _, delay := range []time.Duration{time.Second, 5 * time.Second, 12 * time.Second, 20 * time.Second} {
				hooks := []hook{sleep(5), sleep(15), lullHook, drainHook}
				if delay > keepaliveWait {
					hooks = hooks[1:]
				}
				for _, h := range hooks {
					port++
					listen := fmt.Sprintf("%s:%d", node.Address, port)
					t.Run(fmt.Sprintf("%s, %s late, %s", r.name, delay, h.name), func(t *testing.T) {
						t.Parallel()
						figures <- behindRouter(t, r, listen, delay, h)
					})
				}
			}
		}
	})
	close(figures)
	for f := range figures {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b slowRouter) int {
		return strings.Compare(fmt.Sprintf("%s %04.0f %s", a.Router, a.DelayS, a.Hook), fmt.Sprintf("%s %04.0f %s", b.Router, b.DelayS, b.Hook))
	})
	saveFigures(t, "routers", all, routerTable(all), routerPicture(all, "nginx"))
}

func behindRouter(t *testing.T, r router, listen string, delay time.Duration, h hook) slowRouter {
	if err := node.Install(t.Context(), node.Routers); err != nil {
		if errors.Is(err, node.ErrUnavailable) && !required {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	s := newScene(t)
	s.deploy(workload{replicas: 2, hook: h, grace: 60})
	s.expose("web", "app")
	unroute := s.route(r, listen, delay)
	load := s.load("-target", listen, "-rate", "50")
	time.Sleep(time.Second)
	old := s.live("app")
	s.restart("app")
	s.waitRollout("app")
	s.waitGone(90*time.Second, old...)
	time.Sleep(delay + 2*time.Second) // a router that is told late goes on sending to pods that are gone
	report := s.stop(load)
	late := unroute()
	x := slowRouter{Router: r.name, DelayS: delay.Seconds(), Hook: h.name, Requests: report.Total(), Failed: report.Failed}
	draining := slices.Equal(h.command, drainHook.command)
	for _, pod := range old {
		e := s.end(pod)
		x.HeldS = append(x.HeldS, e.held().Seconds())
		if h.command != nil {
			most := delay + 7*time.Second + late
			if draining {
				most = delay + window + prompt + late
			}
			s.check(e, 0, window, most)
		}
	}
	t.Logf("%s, told %s late (and %.1f s at most), %s: held %.1f s, %s", r.name, delay, late.Seconds(), h.name, x.HeldS, report)
	if h.command != nil && report.Failed > 0 && (draining || delay < keepaliveWait) {
		t.Errorf("%d requests failed, the first: %+v", report.Failed, report.Failures[0])
	}
	return x
}

// route runs the router, and a watcher that tells it of each change when delay has passed. The
// function that it returns ends the watcher, and tells by how much it was later than delay.
func (s *scene) route(r router, listen string, delay time.Duration) (end func() time.Duration) {
	s.Helper()
	dir, err := s.node.Dir(s.ns)
	if err != nil {
		s.Fatal(err)
	}
	configure := func(pods []string) {
		text := r.config(dir, listen, pods)
		if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644); err != nil {
			s.Error(err)
		}
	}
	now := s.endpoints()
	configure(now)
	_, port, _ := net.SplitHostPort(listen)
	name := r.name + "-" + port
	daemon, err := s.node.StartDaemon(name, r.argv(dir)...)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan time.Duration, 1)
	end = sync.OnceValue(func() time.Duration {
		cancel()
		return <-watched
	})
	s.Cleanup(func() {
		end()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := daemon.Stop(ctx, syscall.SIGTERM); err != nil {
			s.Errorf("%v: %s", err, s.node.DaemonLog(name))
		}
		if s.Failed() {
			s.Logf("%s said: %s", r.name, s.node.DaemonLog(name))
		}
	})
	s.reachable(listen)
	go func() {
		watched <- s.tell(ctx, now, delay, func(pods []string) {
			configure(pods)
			if err := daemon.Signal(r.reload); err != nil {
				s.Errorf("reload %s: %v", r.name, err)
			}
		}, func(pods []string) bool { return s.knows(ctx, listen) == strings.Join(pods, ",") })
	}()
	return end
}

// knows is what the router says that it knows.
func (s *scene) knows(ctx context.Context, listen string) string {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DialContext: s.node.Dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/pods", nil)
	if err != nil {
		return ""
	}
	resp, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

// tell calls apply with new sets of endpoints, each as much later as the router is late, until ctx
// is done, and again as long as a set is not known: routers lose a reload that comes while another is
// under way. It returns by how much a change was known later than that at worst.
func (s *scene) tell(ctx context.Context, now []string, delay time.Duration, apply func([]string), known func([]string) bool) (late time.Duration) {
	type change struct {
		due  time.Time
		pods []string
	}
	var queue []change
	var told *change // that is not known yet
	var last time.Time
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return late
		case at := <-tick.C:
			if pods := s.endpoints(); len(pods) > 0 && !slices.Equal(pods, now) {
				now = pods
				queue = append(queue, change{at.Add(delay), pods})
			}
			// At most one reload a second, for the newest change that is due.
			due := 0
			for due < len(queue) && !at.Before(queue[due].due) {
				due++
			}
			switch {
			case due > 0 && at.Sub(last) > time.Second:
				told = &change{queue[0].due, queue[due-1].pods}
				apply(told.pods)
				queue, last = queue[due:], at
			case told != nil && known(told.pods):
				late, told = max(late, time.Since(told.due)), nil
			case told != nil && at.Sub(last) > 2*time.Second:
				apply(told.pods)
				last = at
			}
		}
	}
}

// endpoints lists the ready addresses of Service web, as an ingress controller would. None if the
// API does not answer.
func (s *scene) endpoints() []string {
	list, err := s.client.DiscoveryV1().EndpointSlices(s.ns).List(context.Background(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=web"})
	if err != nil {
		return nil
	}
	var pods []string
	for _, slice := range list.Items {
		if slice.AddressType != discoveryv1.AddressTypeIPv4 || len(slice.Ports) == 0 {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				pods = append(pods, fmt.Sprintf("%s:%d", e.Addresses[0], *slice.Ports[0].Port))
			}
		}
	}
	slices.Sort(pods)
	return pods
}
