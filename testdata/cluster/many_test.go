package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"lull/testdata/cluster/figures"
	"lull/testdata/cluster/node"
)

// The crowded namespace: hooks that begin at once, among slices of other Services.
const (
	manyHooks     = 200
	manySlices    = 1000
	manyEndpoints = 100 // of each slice
)

// manyRow is what hooks that begin at once cost the API server.
type manyRow struct {
	Hooks                         string
	Gets, Lists, Watches, Refused float64
	ListedMB, WatchedMB           float64
	CPUS                          float64 // of the API server
	HeldS                         []float64
	Exits                         map[int]int
	Sighted                       int // hooks that saw their pod leave rotation

	busy time.Duration // no processor was free
}

// TestManyHooks deletes 200 pods at once in a namespace of 1,000 slices of 100 endpoints, and
// counts what their hooks ask of the API server. The pods are a fake node's, with a grace period of
// 60 s; the hooks run beside the node's daemons, with the pods' service account. "none" is what the
// deletions cost by themselves.
//
// Told the Service, each hook finds its slices at once. Else it has to read all of them, 2,000 pages
// in all, which is more than a few processors do in the time: then it is to go by the sockets, and to
// leave no sooner for that.
func TestManyHooks(t *testing.T) {
	s := newScene(t)
	s.fakeNode()
	s.fillSlices()
	s.service("web", "app", func(spec *corev1.ServiceSpec) {
		one := corev1.IPFamilyPolicySingleStack
		spec.IPFamilyPolicy, spec.IPFamilies = &one, spec.IPFamilies[:1]
	})
	kubeconfig := s.tokenKubeconfig()
	var rows []manyRow
	for _, x := range []struct {
		name  string
		flags []string
	}{{"none", nil}, {"lull", []string{}}, {"lull --service=web", []string{"--service=web"}}} {
		rows = append(rows, s.manyHooks(kubeconfig, x.name, x.flags))
	}
	for _, row := range rows[1:] {
		if row.Exits[0] != manyHooks {
			t.Errorf("%s: exit codes %v, want %d times 0", row.Hooks, row.Exits, manyHooks)
		}
	}
	// The hooks share the API server's processors. Where these have no time left for most of the run
	// some hooks are answered too late, but still fewer than of those that read all slices.
	told, plain := rows[2], rows[1]
	if told.Sighted != manyHooks && (told.busy < window || told.Sighted <= plain.Sighted) {
		t.Errorf("%s: %d hooks of %d saw their pod leave rotation, of those without --service %d (no processor was free for %s)",
			told.Hooks, told.Sighted, manyHooks, plain.Sighted, told.busy)
	}
	saveFigures(t, "many", rows, manyTable(rows), "")
}

// fillSlices makes the slices of the Services that are not the pods'. kube-proxy is told to leave
// them alone: it is not what is measured.
func (s *scene) fillSlices() {
	s.Helper()
	var all sync.WaitGroup
	work := make(chan int)
	for range 8 {
		all.Go(func() {
			for i := range work {
				slice := s.foreignSlice(i)
				if _, err := s.client.DiscoveryV1().EndpointSlices(s.ns).Create(s.Context(), slice, metav1.CreateOptions{}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	for i := range manySlices {
		work <- i
	}
	close(work)
	all.Wait()
}

func (s *scene) foreignSlice(i int) *discoveryv1.EndpointSlice {
	yes, no, tcp, name, port := true, false, corev1.ProtocolTCP, "http", int32(8080)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("other-%04d", i), Labels: map[string]string{
			discoveryv1.LabelServiceName: fmt.Sprintf("other-%04d", i), discoveryv1.LabelManagedBy: "lull.test",
			"service.kubernetes.io/service-proxy-name": "none"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &tcp}},
	}
	nodeName, zone := "another-node", "zone-a"
	for j := range manyEndpoints {
		pod := fmt.Sprintf("other-%04d-7c9d8b6f5-%05d", i, j)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 64+i/250, i%250, j+1)}, NodeName: &nodeName, Zone: &zone,
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: s.ns, Name: pod, UID: types.UID(fmt.Sprintf("%08d-0000-4000-8000-%012d", i, j))},
		})
	}
	return slice
}

// tokenKubeconfig writes a kubeconfig with a token of the scene's service account.
func (s *scene) tokenKubeconfig() (file string) {
	s.Helper()
	request, err := s.client.CoreV1().ServiceAccounts(s.ns).CreateToken(s.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		s.Fatal(err)
	}
	dir, err := s.node.Dir(s.ns)
	if err != nil {
		s.Fatal(err)
	}
	file = filepath.Join(dir, "kubeconfig")
	text := fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, s.node.Config.Host, s.node.Config.CAFile, request.Status.Token)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		s.Fatal(err)
	}
	return file
}

// manyHooks deletes as many pods, starts a hook for each unless flags is nil, and waits for them.
func (s *scene) manyHooks(kubeconfig, name string, flags []string) manyRow {
	s.Helper()
	pods := s.fakePods()
	before := s.apiCost()
	ctx, cancel := context.WithTimeout(s.Context(), 90*time.Second)
	defer cancel()
	if err := s.client.CoreV1().Pods(s.ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=app"}); err != nil {
		s.Fatal(err)
	}
	row, began := manyRow{Hooks: name, Exits: map[int]int{}}, time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, pod := range pods {
		if flags == nil {
			continue
		}
		argv := append([]string{s.node.Lull(), "--kubeconfig=" + kubeconfig, "--namespace=" + s.ns, "--pod=" + pod, "--log=none", "--format=json",
			"--port=8080"}, flags...) // nobody listens there: the node's own listeners are not the app's
		all.Go(func() {
			e, exit := s.runHook(ctx, pod, argv)
			mu.Lock()
			defer mu.Unlock()
			row.HeldS = append(row.HeldS, e.last.HeldS)
			row.Exits[exit]++
			if e.has("left") {
				row.Sighted++
			}
		})
	}
	all.Wait()
	row.busy = stalls.busy(began, time.Now())
	if flags == nil {
		time.Sleep(window + prompt) // as long as hooks would take
	}
	slices.Sort(row.HeldS)
	row.add(before, s.apiCost())
	s.forget()
	return row
}

// runHook runs one hook and returns its story and its exit code.
func (s *scene) runHook(ctx context.Context, pod string, argv []string) (e end, exit int) {
	var out bytes.Buffer
	cmd := s.node.Command(ctx, argv...)
	cmd.Stderr = &out
	err := cmd.Run()
	var code *exec.ExitError
	if err != nil && !errors.As(err, &code) {
		s.Errorf("%s: %v", pod, err)
	}
	e.pod = pod
	for text := range strings.Lines(out.String()) {
		var l line
		if json.Unmarshal([]byte(text), &l) != nil {
			continue
		}
		e.story = append(e.story, l)
		if l.Event == "end" {
			e.last = l
		}
	}
	e.deleted = e.story0()
	exit = cmd.ProcessState.ExitCode()
	if strings.HasSuffix(pod, "00") || exit != 0 && strings.HasSuffix(pod, "0") {
		s.Logf("%s: exit %d after %.1f s:%s", pod, exit, e.last.HeldS, e.text())
	}
	if e.last.HeldS < window.Seconds() {
		s.Errorf("%s: too soon: lull held for %.2f s:%s", pod, e.last.HeldS, e.text())
	}
	if e.last.HeldS > e.last.BudgetS+0.5+stalls.between(e.story0(), e.last.At).Seconds() {
		s.Errorf("%s: too late: lull held for %.2f s of %.0f s", pod, e.last.HeldS, e.last.BudgetS)
	}
	return e, exit
}

// fakePods makes ready pods on the fake node, and waits until their Service's slices have them all.
func (s *scene) fakePods() []string {
	s.Helper()
	var names []string
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range manyHooks {
		name := fmt.Sprintf("app-%03d", i)
		names = append(names, name)
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			w := workload{name: "app", hook: lullHook, grace: 60, change: func(spec *corev1.PodSpec) { spec.NodeName = s.fake }}
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: w.labels()}, Spec: w.spec()}
			if _, err := s.client.CoreV1().Pods(s.ns).Create(s.Context(), p, metav1.CreateOptions{}); err != nil {
				s.Error(err)
				return
			}
			s.pretend(name, fmt.Sprintf("10.245.0.%d", i+1), corev1.ConditionTrue)
		})
	}
	all.Wait()
	s.until(slow, "all endpoints", func() error {
		if n := len(s.endpoints()); n != manyHooks {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	return names
}

// forget removes the fake node's pods, as its kubelet would once they have ended.
func (s *scene) forget() {
	s.Helper()
	pods := s.client.CoreV1().Pods(s.ns)
	s.until(slow, "the end of the pods", func() error {
		if err := pods.DeleteCollection(s.Context(), metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{}); err != nil {
			return err
		}
		list, err := pods.List(s.Context(), metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d are there", len(list.Items))
		}
		return err
	})
}

// apiCost is the API server's own account of what it has done so far.
func (s *scene) apiCost() node.Metrics {
	s.Helper()
	m, err := s.node.APIMetrics(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return m
}

// add counts what was asked for between two readings, by everybody: the controllers and the test,
// too.
func (r *manyRow) add(before, after node.Metrics) {
	since := func(name string, labels ...string) float64 {
		return after.Sum(name, labels...) - before.Sum(name, labels...)
	}
	const requests = "apiserver_request_total"
	for _, resource := range []string{"pods", "endpointslices", "services"} {
		of := fmt.Sprintf(`resource="%s"`, resource)
		r.Gets += since(requests, of, `verb="GET"`)
		r.Lists += since(requests, of, `verb="LIST"`)
		r.Watches += since(requests, of, `verb="WATCH"`)
		for _, code := range []string{"403", "429"} {
			r.Refused += since(requests, of, `code="`+code+`"`)
		}
		const mb = 1e6
		r.ListedMB += since("apiserver_response_sizes_sum", of, `verb="LIST"`) / mb
		r.WatchedMB += since("apiserver_watch_events_sizes_sum", of) / mb
	}
	r.CPUS = since("process_cpu_seconds_total")
}

func manyTable(all []manyRow) string {
	var rows [][]string
	for _, x := range all {
		held, exits, sighted := "-", "-", "-"
		if n := len(x.HeldS); n > 0 {
			held = fmt.Sprintf("%.1f s / %.1f s", x.HeldS[n/2], x.HeldS[n-1])
			exits, sighted = fmt.Sprint(x.Exits[0]), fmt.Sprint(x.Sighted)
		}
		rows = append(rows, []string{x.Hooks, fmt.Sprintf("%.0f", x.Gets), fmt.Sprintf("%.0f", x.Lists), fmt.Sprintf("%.0f", x.Watches), fmt.Sprintf("%.0f", x.Refused),
			fmt.Sprintf("%.1f MB", x.ListedMB), fmt.Sprintf("%.1f MB", x.WatchedMB), fmt.Sprintf("%.1f s", x.CPUS), held, sighted, exits})
	}
	head := fmt.Sprintf("%d hooks at once, %d slices of %d endpoints", manyHooks, manySlices, manyEndpoints)
	return figures.Table([]string{head, "gets", "lists", "watches", "403 and 429", "listed", "watched", "API server's CPU", "held, median / max", "saw the removal", "exit code 0"}, rows)
}
