package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lull/testdata/apiserver"
)

// soak is some hooks one after another in one process, against random faults of the API server and
// random traffic, by a seed. Each hook is the real one, less its process: what it leaves behind can
// be counted.
type soak struct {
	Seed  uint64
	Hooks int
}

// soakResult is what came of them.
type soakResult struct {
	Early, Late                []string // the hooks that ended too soon and too late, and how
	Ended                      map[string]int
	Goroutines, Files, Sockets int // that were left over
}

// perProcess is how many hooks run in one process.
const perProcess = 5

// TestSoakOfHooks runs hooks one after another against random faults and random traffic: none may
// end too soon or too late, and none may leave anything behind. LULL_SOAK=n runs n of them,
// LULL_SOAK_SEED=n from another seed than 1.
func TestSoakOfHooks(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: hooks in real time")
	}
	t.Parallel()
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	n, seed := number("LULL_SOAK", 20), uint64(number("LULL_SOAK_SEED", 1))
	var mu sync.Mutex
	all := soakResult{Ended: map[string]int{}}
	var group sync.WaitGroup
	parts := make(chan uint64)
	for range 4 {
		group.Go(func() {
			for part := range parts {
				r, err := runIsolated[soakResult](t.Context(), "soak", soak{Seed: seed<<20 + part, Hooks: min(perProcess, n-int(part)*perProcess)})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				all.add(r)
				mu.Unlock()
			}
		})
	}
	for part := range (n + perProcess - 1) / perProcess {
		parts <- uint64(part)
	}
	close(parts)
	group.Wait()
	for _, how := range append(all.Early, all.Late...) {
		t.Error(how)
	}
	hooks := 0
	for _, n := range all.Ended {
		hooks += n
	}
	if hooks != n || all.Goroutines+all.Files+all.Sockets != 0 {
		t.Errorf("%d hooks, want %d; goroutines left over: %d, files: %d, sockets: %d", hooks, n, all.Goroutines, all.Files, all.Sockets)
	}
	t.Logf("seed %d: %d hooks %v: early %d, late %d; left over: goroutines %d, files %d, sockets %d",
		seed, hooks, all.Ended, len(all.Early), len(all.Late), all.Goroutines, all.Files, all.Sockets)
}

func (r *soakResult) add(x soakResult) {
	r.Early, r.Late = append(r.Early, x.Early...), append(r.Late, x.Late...)
	for how, n := range x.Ended {
		r.Ended[how] += n
	}
	r.Goroutines, r.Files, r.Sockets = r.Goroutines+x.Goroutines, r.Files+x.Files, r.Sockets+x.Sockets
}

// run is the soak itself, in a namespace of its own.
func (x soak) run() (soakResult, error) {
	r := soakResult{Ended: map[string]int{}}
	dir, err := os.MkdirTemp("", "lull-soak-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	var before opened
	for i := range x.Hooks {
		if i == 1 { // what the first one left is the runtime's, and all that is made once
			runtime.GC()
			before = countOpen()
		}
		h := &soakHook{dir: dir, seed: x.Seed<<8 + uint64(i)}
		if err := h.untilItCounts(); err != nil {
			return r, fmt.Errorf("seed %d: %w", h.seed, err)
		}
		r.Ended[h.ending.reason]++
		if h.early != "" {
			r.Early = append(r.Early, h.String()+": EARLY: "+h.early)
		}
		if h.late != "" {
			r.Late = append(r.Late, h.String()+": late: "+h.late)
		}
	}
	if x.Hooks > 1 {
		after := before.settled()
		r.Goroutines, r.Files, r.Sockets = max(0, after.goroutines-before.goroutines), max(0, after.files-before.files), max(0, after.sockets-before.sockets)
	}
	return r, nil
}

// opened is what a process has open.
type opened struct{ goroutines, files, sockets int }

func countOpen() (o opened) {
	o.goroutines = runtime.NumGoroutine()
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			o.sockets++
		} else if err == nil { // eventfds, too
			o.files++
		}
	}
	return o
}

// settled counts again, until no more is open than before or some seconds have passed.
func (o opened) settled() (now opened) {
	for range 100 {
		if now = countOpen(); now.goroutines <= o.goroutines && now.files <= o.files && now.sockets <= o.sockets {
			return now
		}
		time.Sleep(50 * time.Millisecond)
	}
	if now.goroutines > o.goroutines {
		text := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%s\n", text[:runtime.Stack(text, true)])
	}
	return now
}

// soakHook is one of them.
type soakHook struct {
	dir     string
	seed    uint64
	quiet   time.Duration
	source  string
	fault   string
	healthy bool          // the API server does nothing wrong
	from    time.Duration // of the fault
	lasts   time.Duration // 0: for ever
	stays   time.Duration // in rotation

	traffic *traffic
	gap     time.Duration
	ending  ending
	start   time.Time
	exited  time.Time
	left    time.Time
	over    time.Time
	stood   time.Duration

	early, late string
}

func (h *soakHook) String() string {
	return fmt.Sprintf("seed %d, %s, %s from %s for %s, in rotation for %s, window %s: %s after %s; did %v",
		h.seed, h.source, h.fault, h.from, h.lasts, h.stays, h.quiet, h.ending.reason, h.ending.held, h.traffic.did)
}

// untilItCounts repeats a hook whose traffic paused, because the machine did, and one that was
// late: lateness that is lull's own comes back.
func (h *soakHook) untilItCounts() error {
	lates := 0
	for range 8 {
		if err := h.run(); err != nil {
			return err
		}
		if h.gap >= h.quiet/2 {
			h.seed += 1 << 60
			continue
		}
		if h.judge(); h.early != "" || h.late == "" {
			return nil
		}
		if lates++; lates == 3 {
			return nil
		}
	}
	h.late = "the machine stood still in each try"
	return nil
}

const soakBudget = 8 * time.Second

// soakFaults are what an API server can do wrong.
var soakFaults = []struct {
	name string
	set  func(*apiserver.Server)
}{
	{"nothing wrong", func(*apiserver.Server) {}},
	{"nothing wrong", func(*apiserver.Server) {}},
	{"403", func(s *apiserver.Server) { s.Deny["list endpointslices"], s.Deny["watch endpointslices"] = 403, 403 }},
	{"403 of the pod", func(s *apiserver.Server) { s.Deny["get pods"] = 403 }},
	{"500", func(s *apiserver.Server) {
		s.Deny["get pods"], s.Deny["list endpointslices"], s.Deny["watch endpointslices"] = 500, 500, 500
	}},
	{"a page", func(s *apiserver.Server) {
		s.Plain = true
		s.Deny["get pods"], s.Deny["list endpointslices"], s.Deny["watch endpointslices"] = 404, 404, 404
	}},
	{"slow", func(s *apiserver.Server) { s.Delay = 300 * time.Millisecond }},
	{"silent", func(s *apiserver.Server) { s.Delay = time.Hour }},
	{"half events", func(s *apiserver.Server) { s.HalfEvent = true }},
	{"a flood", func(s *apiserver.Server) { s.Flood = 1000 }},
	{"garbage", func(s *apiserver.Server) {
		s.Answer = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
			_, _ = w.Write([]byte("k8s\x00\xff\xff\xff"))
			return true
		}
	}},
}

// run runs the hook once.
func (h *soakHook) run() error {
	random := rand.New(rand.NewPCG(h.seed, 12))
	fault := soakFaults[random.IntN(len(soakFaults))]
	h.fault, h.healthy = fault.name, fault.name == "nothing wrong"
	h.quiet = time.Duration(400+random.IntN(400)) * time.Millisecond
	h.source = []string{"netlink", "proc"}[random.IntN(2)]
	h.stays = time.Duration(random.Int64N(int64(time.Second)))
	h.from = time.Duration(random.Int64N(2)) * time.Duration(random.Int64N(int64(time.Second)))
	h.lasts = time.Duration(random.Int64N(2)) * time.Duration(random.Int64N(int64(1500*time.Millisecond)))
	length := time.Duration(random.Int64N(int64(1500 * time.Millisecond)))

	s, err := newTraffic(random)
	if err != nil {
		return err
	}
	defer s.end()
	h.traffic = s
	api := newSoakAPI(s.app)
	defer api.Close()
	for range random.IntN(4) {
		s.keep()
	}
	if h.from == 0 {
		api.Do(func() { fault.set(api.Server) })
	}
	var machine stalls
	ended := make(chan struct{})
	go machine.watchUntil(ended)
	h.start = time.Now()
	go func() {
		defer close(ended)
		h.ending, err = h.hold(api.kubeconfig(h.dir))
		h.exited = time.Now()
	}()
	var all sync.WaitGroup
	all.Go(func() {
		time.Sleep(h.from)
		api.Do(func() { fault.set(api.Server) })
		if h.from > 0 {
			api.BreakWatches()
		}
		if h.lasts > 0 {
			time.Sleep(h.lasts)
			api.heal()
		}
	})
	all.Go(func() {
		time.Sleep(h.stays)
		h.left = time.Now()
		api.list(false)
	})
	h.call(length, random)
	all.Wait()
	<-ended
	h.stood = machine.since(h.start)
	if err == nil {
		err = s.err
	}
	return err
}

// call makes the traffic, until the hook has ended or it has been going on for long enough.
func (h *soakHook) call(length time.Duration, random *rand.Rand) {
	s := h.traffic
	h.gap = 0
	began, previous := time.Now(), h.start
	for time.Since(began) < length && s.err == nil {
		s.doOne()
		if !s.arrived.Before(previous) {
			h.gap, previous = max(h.gap, s.arrived.Sub(previous)), s.arrived
		}
		time.Sleep(time.Duration(random.Int64N(int64(40 * time.Millisecond))))
	}
	s.settle()
	h.over = time.Now()
	h.gap = max(h.gap, h.over.Sub(previous))
}

// hold is the hook, by its flags.
func (h *soakHook) hold(kubeconfig string) (ending, error) {
	var c cli
	_, err := newParser(&c).Parse([]string{
		"--quiet", h.quiet.String(), "--timeout", soakBudget.String(), "--source", h.source, "--log", "none", "--format", "json",
		"--kubeconfig", kubeconfig, "--namespace", "default", "--pod", "web-1",
		"--port", h.traffic.port(h.traffic.app), "--port", h.traffic.port(h.traffic.unaccepting),
	})
	if err != nil {
		return ending{}, err
	}
	s := openStory(c.Wait.storyFlags)
	defer s.Close()
	return c.Wait.hold(context.Background(), h.start, s), nil
}

// judge reports whether the hook was early or late.
func (h *soakHook) judge() {
	h.early, h.late = "", ""
	decided := h.start.Add(h.ending.held)
	inTime := h.ending.reason == "quiet"
	last := h.traffic.arrived
	switch {
	case !inTime:
	case last.After(decided): // there was no window between any two arrivals
		h.early = fmt.Sprintf("%s before the last arrival", last.Sub(decided))
	case decided.Sub(last) < h.quiet:
		h.early = fmt.Sprintf("%s after the last arrival", decided.Sub(last))
	case h.healthy && decided.Sub(h.left) < h.quiet:
		h.early = fmt.Sprintf("%s after the pod left rotation", decided.Sub(h.left))
	case h.ending.held < h.quiet || !h.healthy && decided.Before(h.left) && h.ending.held < 2*h.quiet:
		h.early = fmt.Sprintf("after %s without the control plane", h.ending.held)
	}
	most := h.start.Add(soakBudget)
	// The API server is in the same namespace, and proc takes requests to it for the app's.
	if h.healthy && h.source == "netlink" {
		most = h.over.Add(h.quiet)
		if h.left.After(h.over) {
			most = h.left.Add(h.quiet)
		}
	}
	if by := h.exited.Sub(most); by > late+farewell+h.stood {
		h.late = fmt.Sprintf("by %s, and the machine stood still for %s", by, h.stood)
	}
}

// watchUntil records stalls until the hook has ended.
func (s *stalls) watchUntil(ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		default:
			s.nap()
		}
	}
}

// end ends what newTraffic began.
func (s *traffic) end() {
	s.app.Close()
	s.settle()
	for _, c := range s.kept {
		c.Close()
	}
}
