package kube_test

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"lull/kube"
	"lull/testdata/apiserver"
)

// rotating is a server with the pod in rotation, and the two states between which the tests flip
// it.
func rotating(t *testing.T) (s *apiserver.Server, flip func(ready bool)) {
	s = newAPIServer(t)
	flip = func(ready bool) {
		mine := "nyy"
		if ready {
			mine = "yyn"
		}
		s.Put(newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", mine)))
	}
	s.Put(newPod("web-1", podUID))
	flip(true)
	return s, flip
}

// The watch's version has expired: the Watcher lists anew, and consistently (the fake's cache is
// empty: a stale list would show no Service at all).
func TestWatcherSurvives410(t *testing.T) {
	t.Parallel()
	for _, asEvent := range []bool{false, true} {
		t.Run(map[bool]string{false: "as status", true: "as event"}[asEvent], func(t *testing.T) {
			long(t, "pauses between watches that fail")
			t.Parallel()
			s, flip := rotating(t)
			s.GoneEvent = asEvent
			w := watching(t, s.Config(), me, kube.Options{})
			await(t, w, "known", known)
			for i := range 4 {
				eventually(t, "a watch", func() bool { return s.Open() == 1 })
				s.Do(func() { s.Epoch++; s.Deny["watch endpointslices"] = 500 })
				flip(i%2 == 1)
				s.Compact()
				s.Do(func() { delete(s.Deny, "watch endpointslices") })
				v := await(t, w, "flipped", inRotation(i%2 == 1))
				if len(v.Services) != 1 {
					t.Fatalf("services %+v", v.Services)
				}
			}
			await(t, w, "well again", func(v kube.View) bool { return v.Err == nil })
		})
	}
}

func TestWatcherSurvivesBrokenWatches(t *testing.T) {
	t.Parallel()
	for _, half := range []bool{false, true} {
		t.Run(map[bool]string{false: "closed", true: "in mid-event"}[half], func(t *testing.T) {
			long(t, "pauses between watches that fail")
			t.Parallel()
			s, flip := rotating(t)
			s.HalfEvent = half
			w := watching(t, s.Config(), me, kube.Options{})
			await(t, w, "known", known)
			for i := range 4 {
				eventually(t, "a watch", func() bool { return s.Open() == 1 })
				s.BreakWatches()
				flip(i%2 == 1)
				await(t, w, "flipped", inRotation(i%2 == 1))
			}
		})
	}
}

// A bookmark moves the version from which a watch goes on, so that no list is needed though all
// events before it are forgotten.
func TestWatcherUsesBookmarks(t *testing.T) {
	t.Parallel()
	s, flip := rotating(t)
	w := watching(t, s.Config(), me, kube.Options{})
	await(t, w, "known", known)
	eventually(t, "a watch", func() bool { return s.Open() == 1 })
	s.Do(func() { s.Hang = true })
	asked := s.Asked("get", "pods")
	eventually(t, "a request for the pod that hangs", func() bool { return s.Asked("get", "pods") > asked })
	before, _ := w.View()
	s.Bookmark()
	await(t, w, "in contact by bookmark", func(v kube.View) bool { return v.Contact.After(before.Contact) })
	time.Sleep(1100 * time.Millisecond) // a watch shorter than a second is listed anew in any case
	lists, watches := s.Asked("list", "endpointslices"), s.Asked("watch", "endpointslices")
	s.Compact()
	s.BreakWatches()
	eventually(t, "a new watch", func() bool { return s.Asked("watch", "endpointslices") > watches })
	flip(false)
	await(t, w, "out of rotation", inRotation(false))
	if n := s.Asked("list", "endpointslices"); n != lists {
		t.Errorf("%d lists more", n-lists)
	}
}

func TestWatcherTellsWhichPermissionIsMissing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		deny       []string
		pod, slice bool
		text       string
	}{
		{"pods", []string{"get pods"}, false, true,
			"no permission to get pods in namespace default: grant it to service account default/web (see README: Rights)"},
		{"slices", []string{"list endpointslices", "watch endpointslices"}, true, false,
			"no permission to list endpointslices.discovery.k8s.io in namespace default: grant it to service account default/web (see README: Rights)"},
		{"watch of slices", []string{"watch endpointslices"}, true, true,
			"no permission to watch endpointslices.discovery.k8s.io in namespace default: grant it to service account default/web (see README: Rights)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, flip := rotating(t)
			for _, d := range tt.deny {
				s.Deny[d] = http.StatusForbidden
			}
			w := watching(t, s.Config(), me, kube.Options{})
			v := await(t, w, "refused", func(v kube.View) bool {
				return v.Err != nil && v.PodKnown == tt.pod && v.SlicesKnown == tt.slice
			})
			if v.Err.Error() != tt.text || !v.Refused {
				t.Errorf("refused %v: %v\nwant %s", v.Refused, v.Err, tt.text)
			}
			// What can be read is kept up to date, by polling if need be.
			if tt.slice {
				flip(false)
				await(t, w, "out of rotation", func(v kube.View) bool { return !v.Services[0].InRotation })
			}
			if tt.pod {
				s.Put(deleting(newPod("web-1", podUID), 45))
				await(t, w, "deleting", func(v kube.View) bool { return v.Deleting })
			}
			contact := v.Contact
			await(t, w, "in contact", func(v kube.View) bool { return v.Contact.After(contact) })

			s.Do(func() { clear(s.Deny) })
			v = await(t, w, "granted", func(v kube.View) bool { return known(v) && v.Err == nil })
			if v.Refused {
				t.Error("still refused")
			}
		})
	}
}

func TestWatcherTellsWhatWillNotPass(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		setUp func(*testing.T, *apiserver.Server) *kube.Watcher
		text  string
	}{
		{"wrong token", func(t *testing.T, s *apiserver.Server) *kube.Watcher {
			cfg := s.Config()
			cfg.BearerToken = "wrong"
			return watching(t, cfg, me, kube.Options{})
		}, "cannot get pods: the API server does not accept these credentials (401)"},
		{"foreign certificate", func(t *testing.T, s *apiserver.Server) *kube.Watcher {
			cfg := s.Config()
			cfg.CAData = nil
			return watching(t, cfg, me, kube.Options{})
		}, "the API server's certificate is not accepted"},
		{"not TLS", func(t *testing.T, s *apiserver.Server) *kube.Watcher {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			plain := &http.Server{Handler: http.NotFoundHandler()}
			go plain.Serve(ln)
			t.Cleanup(func() { plain.Close() })
			cfg := s.Config()
			cfg.Host = "https://" + ln.Addr().String()
			return watching(t, cfg, me, kube.Options{})
		}, "server gave HTTP response to HTTPS client"},
		{"no such resource", func(t *testing.T, s *apiserver.Server) *kube.Watcher {
			s.Deny["list endpointslices"] = 404
			return watching(t, s.Config(), me, kube.Options{})
		}, "the API server does not know it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := rotating(t)
			w := tt.setUp(t, s)
			v := await(t, w, "refused", func(v kube.View) bool { return v.Refused })
			if !strings.Contains(v.Err.Error(), tt.text) || strings.ContainsAny(v.Err.Error(), "\n\r") {
				t.Errorf("err %q, want %q in it", v.Err, tt.text)
			}
			if known(v) {
				t.Error("known")
			}
		})
	}
}

// That the pod cannot be read says nothing against the slices: their silence is told from the
// server's.
func TestWatcherAsksForSlicesWithoutThePod(t *testing.T) {
	long(t, "three seconds in contact")
	t.Parallel()
	s, _ := rotating(t)
	s.Deny["get pods"] = http.StatusInternalServerError
	w := watching(t, s.Config(), me, kube.Options{})
	v := await(t, w, "the slices", func(v kube.View) bool { return v.SlicesKnown })
	eventually(t, "a watch", func() bool { return s.Open() >= 1 })
	first := v.Contact
	await(t, w, "a newer word", func(v kube.View) bool { return v.Contact.Sub(first) > 3*time.Second && !v.PodKnown })
}

// A proxy's page that says 404 is no word of the API server's on the pod.
func TestWatcherDoesNotBelieveAPage(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	w := watching(t, s.Config(), me, kube.Options{})
	await(t, w, "known", known)
	s.Do(func() { s.Plain, s.Deny["get pods"] = true, http.StatusNotFound })
	v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil || v.Deleting })
	if v.Deleting || !v.PodKnown {
		t.Errorf("the pod passes for deleted: %+v", v)
	}
}

// An error that passes is no refusal, and a Retry-After of an hour is heeded for seconds.
func TestWatcherSurvivesAServerInTrouble(t *testing.T) {
	t.Parallel()
	for _, code := range []int{429, 500, 503, 504} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			long(t, "a server that wants to be left alone")
			t.Parallel()
			s, _ := rotating(t)
			s.RetryAfter = "3600"
			for _, d := range []string{"get pods", "list endpointslices", "watch endpointslices"} {
				s.Deny[d] = code
			}
			w := watching(t, s.Config(), me, kube.Options{})
			v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
			if v.Refused || !v.Contact.IsZero() {
				t.Errorf("refused %v, contact %v: %v", v.Refused, v.Contact, v.Err)
			}
			s.Do(func() { clear(s.Deny) })
			await(t, w, "well", func(v kube.View) bool { return known(v) && v.Err == nil })
		})
	}
}

func TestWatcherSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	s, flip := rotating(t)
	wire := newWire(t, s.Listener.Addr().String())
	cfg := s.Config()
	cfg.Host = "https://" + wire.Addr().String()
	w := watching(t, cfg, me, kube.Options{})
	await(t, w, "known", known)
	for i := range 3 {
		eventually(t, "a watch", func() bool { return s.Open() >= 1 })
		wire.Drop()
		flip(i%2 == 1)
		await(t, w, "flipped", inRotation(i%2 == 1))
	}
}

func TestWatcherSurvivesASlowServer(t *testing.T) {
	long(t, "a server that takes 1.5 s an answer")
	t.Parallel()
	s, flip := rotating(t)
	s.Delay = 1500 * time.Millisecond
	w := watching(t, s.Config(), me, kube.Options{})
	await(t, w, "known", known)
	flip(false)
	v := await(t, w, "out of rotation", inRotation(false))
	if v.Err != nil {
		t.Errorf("slow is no failure: %v", v.Err)
	}
}

// Nobody listens: refused connections pass.
func TestWatcherWithoutServer(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	cfg := s.Config()
	s.CloseClientConnections()
	s.Listener.Close()
	cfg.Host = strings.Replace(cfg.Host, "https://", "https://user:secret@", 1)
	w := watching(t, cfg, me, kube.Options{})
	v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
	if v.Refused || !strings.Contains(v.Err.Error(), "connection refused") || strings.Contains(v.Err.Error(), "secret") {
		t.Errorf("refused %v: %v", v.Refused, v.Err)
	}
}

// Run ends at once, whatever it waits for.
func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	wire := newWire(t, s.Listener.Addr().String())
	wire.Freeze(true)
	cfg := s.Config()
	cfg.Host = "https://" + wire.Addr().String()
	w, err := kube.NewWatcher(cfg, me, kube.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("Run goes on after its context ended")
	}
	if v, _ := w.View(); v.Err != nil {
		t.Errorf("the end of the context passes for a failure: %v", v.Err)
	}
}

// Nothing that Run started outlives it: no goroutine, no connection. Not parallel, so that no other
// test's are about.
func TestRunLeavesNothingBehind(t *testing.T) {
	s, _ := rotating(t)
	w, err := kube.NewWatcher(s.Config(), me, kube.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	await(t, w, "known", known)
	eventually(t, "a watch", func() bool { return s.Open() == 1 })
	cancel()
	<-done
	var stacks string
	left := func() bool {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		return strings.Contains(stacks, "k8s.io/client-go") || strings.Contains(stacks, "http2ClientConn") ||
			strings.Contains(stacks, "lull/kube.(")
	}
	for start := time.Now(); left(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("still there:\n%s", stacks)
		}
	}
}

// A continue token expires while a long list is read, of slices and of pods.
func TestWatcherSurvivesExpiryBetweenPages(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	s.Remove(newPod("web-1", podUID))
	s.ExpireNext = 2
	for i := range 120 {
		uid := otherUID[:33] + string([]byte{'0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10)})
		s.Put(newPod("other-"+uid[33:], uid))
		for j := range 3 {
			s.Put(newSlice("s-"+uid[33:]+string(rune('a'+j)), "web", endpointOf(uid, "10.1.0.1", "yyn")))
		}
	}
	s.Put(newPod("z-custom", podUID))
	w := watching(t, s.Config(), me, kube.Options{})
	v := await(t, w, "known", known)
	if f := w.Facts(); f.Name != "z-custom" || f.Gone {
		t.Errorf("pod %+v", f)
	}
	if len(v.Services) != 1 || v.Services[0].Ready != 120 {
		t.Errorf("services %+v, want 120 others ready", v.Services)
	}
}

// A server that never ends a list is given up on, and says so.
func TestWatcherBoundsEndlessLists(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	s.Endless = true
	w := watching(t, s.Config(), kube.Identity{Namespace: "default", Name: "nosuch", UID: thirdUID}, kube.Options{})
	v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
	if known(v) || v.Deleting || !strings.Contains(v.Err.Error(), "does not end") {
		t.Errorf("%+v", v)
	}
}
