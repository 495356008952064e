package kube_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lull/kube"
	"lull/testdata/apiserver"
)

const byWeb = "kubernetes.io/service-name in (web)"

// crowded is a server with so many more Services in the namespace, of a slice each.
func crowded(t testing.TB, others, endpoints int) *apiserver.Server {
	s := newAPIServer(t)
	s.Put(newPod("web-1", podUID), newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn")))
	for i := range others {
		slice := newSlice(fmt.Sprintf("z-%04d", i), fmt.Sprintf("other-%d", i))
		for j := range endpoints {
			e := named(endpointOf(fmt.Sprintf("%s%04d%04d", otherUID[:28], i, j), fmt.Sprintf("10.%d.%d.%d", i/250+1, i%250, j+1), "yyn"),
				fmt.Sprintf("other-%d-5d8f9c7b6d-%05d", i, j))
			e.TargetRef.Namespace, e.NodeName = "default", ptr(fmt.Sprintf("node-%d", j%10))
			slice.Endpoints = append(slice.Endpoints, e)
		}
		s.Put(slice)
	}
	return s
}

// Named Services are looked for by their label: the rest of the namespace is not read, unless one
// of them is not found so.
func TestWatcherLooksForNamedServicesByLabel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		services []string
		lists    []string // by selector, each kind once
		named    []string
	}{
		{"one", []string{"web"}, []string{byWeb}, []string{"web"}},
		{"one by hand", []string{"by-hand"}, []string{"", "kubernetes.io/service-name in (by-hand)"}, []string{"by-hand"}},
		{"one of each", []string{"web", "by-hand"}, []string{"", "kubernetes.io/service-name in (by-hand,web)"}, []string{"by-hand", "web"}},
		{"one misspelt", []string{"web", "wep"}, []string{"", byWeb, "kubernetes.io/service-name in (web,wep)"}, []string{"web"}},
		{"no label", []string{"not a label"}, []string{""}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := crowded(t, 150, 1)
			s.Put(newSlice("by-hand", "", endpointOf(podUID, "10.0.0.7", "yyn")), newSlice("api-1", "api", endpointOf(podUID, "10.0.0.7", "yyn")))
			w := watching(t, s.Config(), me, kube.Options{Services: tt.services})
			v := await(t, w, "known", known)
			if diff := cmp.Diff(tt.named, v.Named); diff != "" {
				t.Errorf("named: %s", diff)
			}
			if len(tt.named) > 0 {
				eventually(t, "a watch", func() bool { return s.Open() == 1 })
			}
			lists := s.Queries("list", "endpointslices")
			slices.Sort(lists)
			if diff := cmp.Diff(tt.lists, slices.Compact(lists)); diff != "" {
				t.Errorf("lists (-want +got)\n%s", diff)
			}
		})
	}
}

// What is refused is asked for less and less often: it does not go away by waiting.
func TestWatcherDoesNotInsist(t *testing.T) {
	long(t, "seconds in which little is asked")
	t.Parallel()
	for _, tt := range []struct {
		name string
		deny string
		most map[string]int // requests in 8 s
	}{
		{"pods", "get pods", map[string]int{"get pods": 3, "list endpointslices": 6}},
		{"slices", "list endpointslices", map[string]int{"list endpointslices": 3}},
		{"watch", "watch endpointslices", map[string]int{"watch endpointslices": 3}},
		{"services", "get services", map[string]int{"get services": 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := rotating(t)
			s.Deny[tt.deny] = http.StatusForbidden
			watching(t, s.Config(), me, kube.Options{})
			time.Sleep(8 * time.Second)
			for what, most := range tt.most {
				var verb, resource string
				fmt.Sscan(what, &verb, &resource)
				if n := s.Asked(verb, resource); n > most || n == 0 {
					t.Errorf("%s: %d times, want at most %d", what, n, most)
				}
			}
		})
	}
}

// A server that asks for time gets it, within reason.
func TestWatcherHeedsRetryAfter(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	s.Plain, s.RetryAfter = true, "2" // as the API server's own filters answer
	for _, d := range []string{"get pods", "list endpointslices"} {
		s.Deny[d] = http.StatusTooManyRequests
	}
	start := time.Now() // before the first answer, from which the 2 s count
	w := watching(t, s.Config(), me, kube.Options{})
	await(t, w, "failing", func(v kube.View) bool { return v.Err != nil && !v.Refused })
	asked := s.Asked("get", "pods") + s.Asked("list", "endpointslices")
	early := time.Since(start) < 1500*time.Millisecond
	s.Do(func() { clear(s.Deny) })
	await(t, w, "well", func(v kube.View) bool { return known(v) && v.Err == nil })
	if took := time.Since(start); took < 1500*time.Millisecond {
		t.Errorf("asked again after %v", took)
	}
	if early && asked > 3 {
		t.Errorf("%d requests at first", asked)
	}
}

// While pages arrive the server is not silent, however many there are.
func TestWatcherIsInContactWhilePagesArrive(t *testing.T) {
	long(t, "pages that take their time")
	t.Parallel()
	s := crowded(t, 450, 1)
	s.Slow = map[string]time.Duration{"list endpointslices": 700 * time.Millisecond}
	s.Do(func() { s.Hang = true }) // nothing but pages
	w := watching(t, s.Config(), me, kube.Options{Services: []string{"not a label"}})
	for {
		v, _ := w.View()
		if !v.SlicesContact.IsZero() && time.Since(v.SlicesContact) > 2*time.Second {
			t.Fatalf("silent about slices for %v", time.Since(v.SlicesContact))
		}
		if !v.Contact.IsZero() && time.Since(v.Contact) > 2*time.Second {
			t.Fatalf("silent for %v", time.Since(v.Contact))
		}
		if v.SlicesKnown {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// BenchmarkStart is what a hook asks of the API server until it knows all, in a namespace with
// 1,000 slices of 100 endpoints.
func BenchmarkStart(b *testing.B) {
	for name, services := range map[string][]string{"all": nil, "service": {"web"}} {
		b.Run(name, func(b *testing.B) {
			s := crowded(b, 1000, 100)
			b.ResetTimer()
			for range b.N {
				w := watching(b, s.Config(), me, kube.Options{Services: services})
				await(b, w, "known", known)
			}
			b.StopTimer()
			requests, sent := s.Load()
			b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
			b.ReportMetric(float64(sent)/float64(b.N), "bytes/op")
		})
	}
}
