package main

import (
	"bufio"
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

	"lull/testdata/ownnet"
)

// shippedBinary returns the path of lull as it is shipped: that is what must be on time, and what
// is measured. It skips the test in the short suite, and where lull cannot be run isolated.
func shippedBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: builds lull as it is shipped and runs it in real time")
	}
	if !ownnet.Own {
		t.Skip("needs a network namespace of its own")
	}
	path, err := buildShipped()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// buildShipped builds the binary once for all tests. LULL_BINARY names one that has been built, for
// a machine without Go.
var buildShipped = sync.OnceValues(func() (path string, err error) {
	if path := os.Getenv("LULL_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "lull-shipped-")
	if err != nil {
		return "", err
	}
	afterTests = append(afterTests, func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "lull")
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -funcalign=16", "-o", path, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

// hook is a running lull.
type hook struct {
	*exec.Cmd
	story    []event
	watching time.Time     // when it said that it watches the sockets: its window begins right after
	ended    chan struct{} // closed when it has ended
	at       time.Time     // when the end was seen
}

// event is a line of the story.
type event struct {
	Time  time.Time
	Msg   string
	Event string
	HeldS float64 `json:"held_s"`
}

// startHook starts lull and returns once lull watches the sockets.
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
			// lull says this once it has opened its view of the sockets.
			if h.story = append(h.story, e); e.Event == "no-cluster" {
				h.watching = e.Time
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

// end returns the story's last line.
func (h *hook) end() event {
	if len(h.story) == 0 {
		return event{}
	}
	return h.story[len(h.story)-1]
}

// cpu returns the CPU time that lull has used so far, on all its threads: the clock of a process
// (CPUCLOCK_SCHED in linux/posix-timers_types.h).
func (h *hook) cpu() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^h.Process.Pid<<3|2), &ts)
	return time.Duration(ts.Nano()), err
}

// cpuDuring returns how much CPU time lull uses in d, from two seconds after its start.
func (h *hook) cpuDuring(d time.Duration) (time.Duration, error) {
	time.Sleep(2 * time.Second)
	before, err := h.cpu()
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	after, err := h.cpu()
	if err != nil {
		return 0, fmt.Errorf("lull ended while it was measured: %w", err)
	}
	return after - before, nil
}

// peak returns lull's peak memory so far in KiB; 0 once it has ended.
func (h *hook) peak() (kib int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Process.Pid))
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(after, &kib)
	return kib
}

// waitForEnd returns lull's peak memory in KiB once lull has ended.
func (h *hook) waitForEnd() (peak int) {
	for {
		select {
		case <-h.ended:
			return peak
		case <-time.After(100 * time.Millisecond):
			peak = max(peak, h.peak())
		}
	}
}
