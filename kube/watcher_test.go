package kube_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"

	"lull/kube"
	"lull/testdata/apiserver"
)

const (
	podUID   = "0b9ffe6d-0a5b-4a52-9b0c-5d2f5a1c6f01"
	otherUID = "5a3c1f0e-77aa-4b8e-8a52-2f9d1f7a9c02"
	thirdUID = "9d4b6a11-1c2d-4e3f-9a8b-7c6d5e4f3a03"
)

func ptr[T any](v T) *T { return &v }

// newPod is a running pod named name with a readiness probe on a named port.
func newPod(name, uid string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr(int64(45)),
			Containers: []corev1.Container{{
				Name:  "app",
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
				ReadinessProbe: &corev1.Probe{
					PeriodSeconds: 5,
					ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")}},
				},
			}},
		},
		Status: corev1.PodStatus{
			Phase:   corev1.PodRunning,
			HostIPs: []corev1.HostIP{{IP: "172.16.0.1"}, {IP: "fd00::1"}},
			PodIPs:  []corev1.PodIP{{IP: "10.0.0.7"}, {IP: "fd00:1::7"}},
		},
	}
}

// deleting marks a pod as the API server does.
func deleting(pod *corev1.Pod, grace int64) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.DeletionTimestamp = &metav1.Time{Time: time.Now().Add(time.Duration(grace) * time.Second)}
	pod.DeletionGracePeriodSeconds = &grace
	return pod
}

// conditions are ready, serving, terminating: 'y', 'n', or '-' for unset.
func endpointOf(uid, addr, conditions string) discoveryv1.Endpoint {
	is := map[byte]*bool{'y': ptr(true), 'n': ptr(false)}
	e := discoveryv1.Endpoint{
		Addresses: []string{addr},
		Conditions: discoveryv1.EndpointConditions{
			Ready: is[conditions[0]], Serving: is[conditions[1]], Terminating: is[conditions[2]],
		},
	}
	if uid != "" {
		e.TargetRef = &corev1.ObjectReference{Kind: "Pod", UID: types.UID(uid)}
	}
	return e
}

func newSlice(name, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   endpoints,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr("web"), Port: ptr(int32(8080)), Protocol: ptr(corev1.ProtocolTCP)}},
	}
	if service != "" {
		s.Labels = map[string]string{
			discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
		}
	}
	return s
}

var me = kube.Identity{Namespace: "default", Name: "web-1", UID: podUID}

// watching runs a Watcher until the test ends; whatever the server does, Run must then return soon.
func watching(t testing.TB, cfg *rest.Config, id kube.Identity, opts kube.Options) *kube.Watcher {
	t.Helper()
	w, err := kube.NewWatcher(cfg, id, opts)
	if err != nil {
		t.Fatal(err)
	}
	run(t, w)
	return w
}

func run(t testing.TB, w *kube.Watcher) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Error("Run did not return after its context ended")
		}
	})
}

// await waits for a View of which ok holds, as a caller does: by the channel.
func await(t testing.TB, w *kube.Watcher, what string, ok func(kube.View) bool) kube.View {
	t.Helper()
	deadline := time.After(40 * time.Second)
	for {
		v, changed := w.View()
		if ok(v) {
			return v
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond): // for Contact
		case <-deadline:
			t.Fatalf("never %s; last view: %+v", what, v)
		}
	}
}

func known(v kube.View) bool { return v.PodKnown && v.SlicesKnown }

// eventually waits for something outside of a View.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 40*time.Second {
			t.Fatalf("never %s", what)
		}
	}
}

func inRotation(want bool) func(kube.View) bool {
	return func(v kube.View) bool { return known(v) && len(v.Services) > 0 && v.Services[0].InRotation == want }
}

// TestWatcherFollowsARollingUpdate is the life of a pod that is replaced, in each encoding and over
// each HTTP.
func TestWatcherFollowsARollingUpdate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		json   bool
		protos []string
	}{
		{"protobuf over HTTP2", false, nil},
		{"JSON over HTTP2", true, nil},
		{"protobuf over HTTP1", false, []string{"http/1.1"}},
		{"JSON over HTTP1", true, []string{"http/1.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			long(t, "a whole life, read every three seconds at its end")
			t.Parallel()
			s := newAPIServer(t)
			s.JSON = tt.json
			cfg := s.Config()
			cfg.NextProtos = tt.protos
			followRollingUpdate(t, s, cfg)
		})
	}
}

func followRollingUpdate(t *testing.T, s *apiserver.Server, cfg *rest.Config) {
	pod := newPod("web-1", podUID)
	slice := func(mine, other string) *discoveryv1.EndpointSlice {
		return newSlice("web-abc", "web", endpointOf(podUID, "10.0.0.7", mine), endpointOf(otherUID, "10.0.0.8", other))
	}
	s.Put(pod, slice("yyn", "nnn"))
	w := watching(t, cfg, me, kube.Options{})

	want := kube.View{
		PodKnown: true, SlicesKnown: true,
		Grace: 45 * time.Second, RestartGrace: 45 * time.Second,
		Declared:  []uint16{8080},
		NodeAddrs: []netip.Addr{netip.MustParseAddr("172.16.0.1"), netip.MustParseAddr("fd00::1")},
		PodAddrs:  []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00:1::7")},
		Probes:    []kube.Probe{{Port: 8080, Period: 5 * time.Second, Follows: true}},
		Services:  []kube.Service{{Name: "web", InRotation: true, Serving: true, Coming: 1}},
		Named:     []string{"web"},
		Ports:     []kube.Port{{Name: "web", Number: 8080}},
	}
	check := func(step string, ok func(kube.View) bool) {
		t.Helper()
		got := await(t, w, step, ok)
		if time.Since(got.Contact) > 20*time.Second {
			t.Errorf("%s: last contact %v ago", step, time.Since(got.Contact))
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(kube.View{}, "Contact", "SlicesContact", "Asked"), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", step, diff)
		}
	}
	check("in rotation", func(v kube.View) bool { return known(v) && !v.Services[0].LocalUnknown })
	if f := w.Facts(); f.Name != "web-1" || f.UID != podUID || f.SpecGrace != 45*time.Second {
		t.Errorf("pod %+v", f)
	}
	// Only once the watch is open do the rest of the changes come by it.
	eventually(t, "a watch", func() bool { return s.Open() == 1 })

	s.Put(deleting(pod, 45))
	want.Deleting = true
	check("deleting", func(v kube.View) bool { return v.Deleting })

	s.Put(slice("nyy", "nnn"))
	want.Services = []kube.Service{{Name: "web", Serving: true, Coming: 1}}
	check("out of rotation", inRotation(false))

	s.Put(deleting(pod, 5))
	want.Grace = 5 * time.Second
	check("grace period shortened", func(v kube.View) bool { return v.Grace == 5*time.Second })

	s.Put(slice("nyy", "yyn"))
	want.Services = []kube.Service{{Name: "web", Serving: true, Ready: 1}}
	check("replaced", func(v kube.View) bool { return v.Services[0].Ready == 1 })

	s.Put(newSlice("web-abc", "web", endpointOf(otherUID, "10.0.0.8", "yyn")))
	want.Services = []kube.Service{{Name: "web", Ready: 1}}
	check("no longer listed", func(v kube.View) bool { return !v.Services[0].Serving })

	s.Remove(pod)
	want.Grace = time.Second
	check("gone", gone(w))
	if n := s.Asked("list", "pods") + s.Asked("watch", "pods"); n != 0 {
		t.Errorf("pods listed or watched %d times", n)
	}
}

func TestWatcherWatchesOnlyTheServicesThatNameThePod(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.Put(newPod("web-1", podUID),
		newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn")),
		newSlice("api-1", "api", endpointOf(podUID, "10.0.0.7", "yyn")))
	for i := range 300 {
		s.Put(newSlice(fmt.Sprintf("z-%03d", i), fmt.Sprintf("other-%d", i), endpointOf(otherUID, "10.0.0.8", "yyn")))
	}
	w := watching(t, s.Config(), me, kube.Options{})
	v := await(t, w, "known", func(v kube.View) bool {
		return known(v) && !v.Services[0].LocalUnknown && !v.Services[1].LocalUnknown
	})
	want := []kube.Service{
		{Name: "api", InRotation: true, Serving: true},
		{Name: "web", InRotation: true, Serving: true},
	}
	if diff := cmp.Diff(want, v.Services); diff != "" {
		t.Error(diff)
	}
	eventually(t, "a watch", func() bool { return s.Asked("watch", "endpointslices") > 0 })
	for _, q := range s.Queries("watch", "endpointslices") {
		if q != "kubernetes.io/service-name in (api,web)" {
			t.Errorf("watch with selector %q", q)
		}
	}
	if n := s.Asked("list", "endpointslices"); n < 4 {
		t.Errorf("%d requests for a list of 302 in pages", n)
	}
}

func TestWatcherFiltersServices(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.Put(newPod("web-1", podUID),
		newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn")),
		newSlice("api-1", "api", endpointOf(podUID, "10.0.0.7", "yyn")))
	w := watching(t, s.Config(), me, kube.Options{Services: []string{"web", "nosuch"}})
	v := await(t, w, "known", known)
	if len(v.Services) != 1 || v.Services[0].Name != "web" {
		t.Errorf("services %+v, want web alone", v.Services)
	}
}

// A slice made by hand may lack the label by which a watch is narrowed.
func TestWatcherKeepsTheNamespaceForSlicesWithoutLabel(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	plain := newSlice("by-hand", "", endpointOf(podUID, "10.0.0.7", "yyn"))
	s.Put(newPod("web-1", podUID), plain, newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn")))
	w := watching(t, s.Config(), me, kube.Options{})
	v := await(t, w, "known", known)
	if len(v.Services) != 2 || v.Services[0].Name != "by-hand" {
		t.Fatalf("services %+v, want by-hand and web", v.Services)
	}
	s.Put(newSlice("by-hand", "", endpointOf(podUID, "10.0.0.7", "nyy")))
	await(t, w, "out of rotation by hand", inRotation(false))
}

func TestWatcherKnowsAPodThatIsInNoService(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.Put(newPod("web-1", podUID), newSlice("api-1", "api", endpointOf(otherUID, "10.0.0.8", "yyn")))
	w := watching(t, s.Config(), me, kube.Options{})
	if v := await(t, w, "known", known); len(v.Services) != 0 || v.Err != nil {
		t.Errorf("services %+v, err %v; want none", v.Services, v.Err)
	}
	// The controller may have been slow.
	s.Put(newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn")))
	await(t, w, "in rotation after all", inRotation(true))
}

// A View is the caller's own.
func TestViewsShareNothing(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.Put(newPod("web-1", podUID), newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn")))
	w := watching(t, s.Config(), me, kube.Options{})
	v := await(t, w, "known", known)
	v.Services[0].Name, v.PodAddrs[0], v.NodeAddrs[0] = "spoilt", netip.Addr{}, netip.Addr{}
	v.Probes[0].Port, v.Ports[0].Number = 1, 1
	again, _ := w.View()
	if again.Services[0].Name != "web" || !again.PodAddrs[0].IsValid() || !again.NodeAddrs[0].IsValid() ||
		again.Probes[0].Port != 8080 || again.Ports[0].Number != 8080 {
		t.Errorf("changed from outside: %+v", again)
	}
}

// What is asked is what the README's RBAC grants; and nothing secret is told.
func TestWatcherOnlyReadsAndTellsNoSecret(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.Deny["watch endpointslices"] = 403
	s.Put(newPod("web-1", podUID), newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn")))
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(locked{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w := watching(t, s.Config(), me, kube.Options{Log: log})
	v := await(t, w, "failed", func(v kube.View) bool { return known(v) && v.Err != nil })
	mu.Lock()
	defer mu.Unlock()
	if told := v.Err.Error() + out.String(); strings.Contains(told, apiserver.Token) || strings.Contains(told, "eyJ") {
		t.Errorf("a token is told: %s", told)
	}
	for _, line := range []string{
		`verb=GET path=/api/v1/namespaces/default/pods/web-1 outcome="200 OK" took_s=`,
		`verb=GET path=/apis/discovery.k8s.io/v1/namespaces/default/endpointslices outcome="200 OK" took_s=`,
		`verb=WATCH path=/apis/discovery.k8s.io/v1/namespaces/default/endpointslices outcome="403 Forbidden" took_s=`,
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("not logged: %s\n%s", line, out.String())
		}
	}
	s.Do(func() {
		if !s.Agents["lull"] || len(s.Agents) != 1 {
			t.Errorf("user agents %v", s.Agents)
		}
		for _, r := range s.Requests {
			if r.Method != http.MethodGet {
				t.Errorf("%s %s", r.Method, r.URL)
			}
		}
	})
}

type locked struct {
	*sync.Mutex
	*bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.Write(p)
}
