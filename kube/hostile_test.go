package kube_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lull/kube"
	"lull/testdata/apiserver"
)

// answers lets the server answer so instead.
func answers(s *apiserver.Server, answer func(http.ResponseWriter, *http.Request) bool) {
	s.Do(func() { s.Answer = answer })
}

// The token is for the API server alone, wherever that points.
func TestWatcherFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(other.Close)
	answers(s, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL, http.StatusFound)
		return true
	})
	w := watching(t, s.Config(), me, kube.Options{})
	v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests follow the redirect", n)
	}
	if v.Refused || known(v) {
		t.Errorf("a redirect may pass: %+v", v)
	}
}

// A proxy that holds a watch back shows nothing of what happens: lists do.
func TestWatcherListsAnewWhereAWatchIsMute(t *testing.T) {
	long(t, "the pause until a watch is doubted")
	t.Parallel()
	s, flip := rotating(t)
	s.Put(deleting(newPod("web-1", podUID), 30))
	answers(s, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("watch") == "" {
			return false
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	w := watching(t, s.Config(), me, kube.Options{})
	await(t, w, "known", known)
	flip(false)
	await(t, w, "out of rotation", inRotation(false))
	flip(true)
	lists := s.Asked("list", "endpointslices")
	time.Sleep(4 * time.Second)
	if n := s.Asked("list", "endpointslices") - lists; n > 1 {
		t.Errorf("%d lists while nothing is awaited", n)
	}
}

// An answer that does not end costs no more memory than the largest one that can be true.
func TestWatcherBoundsAnswers(t *testing.T) {
	s, _ := rotating(t)
	answers(s, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		for chunk := make([]byte, 64<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return true
			}
		}
	})
	heap := heapGrowth()
	w := watching(t, s.Config(), me, kube.Options{})
	await(t, w, "failing", func(v kube.View) bool {
		return v.Err != nil && strings.Contains(v.Err.Error(), "larger than 2097152 bytes")
	})
	if n := heap(); n > 32 {
		t.Errorf("the heap grows by %d MiB", n)
	}
}

// A list that does not end costs no more than the largest one that is kept, and it is not known.
func TestWatcherBoundsSlices(t *testing.T) {
	for name, how := range map[string]func(*apiserver.Server){
		"a list":  func(s *apiserver.Server) { s.EndlessOf = byWeb },
		"a watch": func(s *apiserver.Server) { s.Flood = 1 << 30 },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := rotating(t)
			how(s)
			heap := heapGrowth()
			w := watching(t, s.Config(), me, kube.Options{})
			v := await(t, w, "given up", func(v kube.View) bool { return v.Err != nil })
			if v.SlicesKnown || v.SlicesRefused || !strings.Contains(v.Err.Error(), "the slices take more than 4 MiB") {
				t.Errorf("%+v", v)
			}
			lists := len(s.Queries("list", "endpointslices"))
			eventually(t, "another try", func() bool { return len(s.Queries("list", "endpointslices")) > lists })
			if n := heap(); n > 48 {
				t.Errorf("the heap grows by %d MiB", n)
			}
		})
	}
}

// A page that is too large is asked for with fewer objects.
func TestWatcherReadsLargePages(t *testing.T) {
	t.Parallel()
	s := crowded(t, 60, 1000)
	w := watching(t, s.Config(), me, kube.Options{})
	await(t, w, "known", func(v kube.View) bool { return known(v) && len(v.Services) == 1 })
}

// heapGrowth returns what tells by how many MiB the heap has grown.
func heapGrowth() func() int {
	var before runtime.MemStats
	runtime.GC()
	debug.FreeOSMemory()
	runtime.ReadMemStats(&before)
	return func() int {
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		return (int(after.HeapSys-after.HeapReleased) - int(before.HeapSys-before.HeapReleased)) >> 20
	}
}

// A token that is no longer accepted is not sent once there is another in its file.
func TestWatcherReadsTheTokenAgain(t *testing.T) {
	t.Parallel()
	s, flip := rotating(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(apiserver.Token)
	cfg := s.Config()
	cfg.BearerToken, cfg.BearerTokenFile = "", file
	w := watching(t, cfg, me, kube.Options{})
	await(t, w, "known", known)
	s.Do(func() { s.Tokens = []string{"the-next-one"} })
	s.BreakWatches()
	await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
	write("the-next-one")
	flip(false)
	await(t, w, "out of rotation", inRotation(false))
}
