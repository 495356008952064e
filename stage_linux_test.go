package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lull/testdata/crowd"
	"lull/testdata/ownnet"
)

// A stage is a process of this test program with a network namespace of its own,
// in which lull itself is run and something goes on: nobody else's traffic is
// there, so both sources can be held to what they promise.

// stages are what can go on, by name. Each takes and returns JSON.
var stages = map[string]func(string) (any, error){
	"trial":   play(trial.run),
	"waiting": play(waiting.run),
}

const stageEnv, stageArgEnv = "STAGE", "STAGE_ARGUMENT"

func init() {
	crowd.Main()
	if name := os.Getenv(stageEnv); name != "" {
		os.Exit(ownnet.Run(func() int { return onStage(name) }))
	}
}

func play[In, Out any](run func(In) (Out, error)) func(string) (any, error) {
	return func(text string) (any, error) {
		var in In
		if err := json.Unmarshal([]byte(text), &in); err != nil {
			return nil, err
		}
		return run(in)
	}
}

// onStage is all that such a process does.
func onStage(name string) int {
	out, err := stages[name](os.Getenv(stageArgEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return 1
	}
	return 0
}

// perform runs a stage and reads its outcome.
func perform[Out any](ctx context.Context, name string, in any) (out Out, err error) {
	arg, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe")
	ownnet.Enter(c)
	c.Env = append(c.Env, stageEnv+"="+name, stageArgEnv+"="+string(arg))
	c.WaitDelay = time.Second
	var stderr strings.Builder
	c.Stderr = &stderr
	text, err := c.Output()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, arg, err, stderr.String())
	}
	return out, err
}

// binary builds lull as it is shipped, for what it costs is to be measured. It
// skips the test where stages can't be played.
func binary(t *testing.T) string {
	t.Helper()
	if !ownnet.Own {
		t.Skip("needs a network namespace of its own")
	}
	path := filepath.Join(t.TempDir(), "lull")
	c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return path
}

// hook is lull at work.
type hook struct {
	*exec.Cmd
	story []event
	ended chan struct{} // closed when it has ended
	at    time.Time     // when that was seen
}

// event is a line of the story.
type event struct {
	Time  time.Time
	Msg   string
	Event string
	HeldS float64 `json:"held_s"`
}

// startHook starts lull and returns when it watches the sockets.
func startHook(path string, args ...string) (*hook, error) {
	h := &hook{Cmd: exec.Command(path, append(args, "--format", "json", "--log", "none")...), ended: make(chan struct{})}
	h.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := h.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := h.Start(); err != nil {
		return nil, err
	}
	watching := make(chan struct{})
	go func() {
		defer close(h.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) != nil {
				continue
			}
			// It says so once it has opened its view of the sockets.
			if h.story = append(h.story, e); e.Event == "no-cluster" {
				close(watching)
			}
		}
		_, _ = io.Copy(io.Discard, stderr)
		_ = h.Wait()
		h.at = time.Now()
	}()
	select {
	case <-watching:
		return h, nil
	case <-h.ended:
		return nil, fmt.Errorf("lull %v ended: %v", args, h.story)
	}
}

// end is the story's last line.
func (h *hook) end() event {
	if len(h.story) == 0 {
		return event{}
	}
	return h.story[len(h.story)-1]
}

// cpu is how much time it has used so far, on all its threads: the clock of a
// process (CPUCLOCK_SCHED in linux/posix-timers_types.h).
func (h *hook) cpu() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^h.Process.Pid<<3|2), &ts)
	return time.Duration(ts.Nano()), err
}

// peak is its peak memory in KiB so far; 0 once it has ended.
func (h *hook) peak() (kib int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Process.Pid))
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(after, &kib)
	return kib
}

// stalls is how much this machine has stood still: a late exit may be its doing.
type stalls struct {
	mu   sync.Mutex
	list [][2]time.Time
}

// watch notes when a short nap takes much too long, for as long as the process.
func (s *stalls) watch() {
	const nap, late = 5 * time.Millisecond, 15 * time.Millisecond
	for {
		from := time.Now()
		time.Sleep(nap)
		if to := time.Now(); to.Sub(from) > nap+late {
			s.mu.Lock()
			s.list = append(s.list, [2]time.Time{from.Add(nap), to})
			s.mu.Unlock()
		}
	}
}

// since is for how long it has stood still since then.
func (s *stalls) since(t time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.list {
		if x[1].After(t) {
			sum += x[1].Sub(x[0])
		}
	}
	return sum
}
