package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lull returns the path of the binary as it is shipped.
var lull = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "lull-faults-")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "lull")
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "lull")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

// event is a line of the story.
type event struct {
	Time   time.Time
	Level  string
	Msg    string
	Event  string
	Reason string
	Stage  string
}

// hook is lull in a place.
type hook struct {
	*exec.Cmd
	args    []string
	env     []string
	wrap    string   // shell commands before it
	said    *os.File // its stdout and stderr; nil: a file that is read at the end
	log     string   // file of the story where stderr is not it
	started time.Time
	ended   chan struct{}
	exited  time.Time
	memory  int // MiB, at its most
	output  string
	story   []event
}

// start starts it. What it says is there once it has ended.
func (h *hook) start(t *testing.T, p *place) {
	t.Helper()
	path, err := lull()
	if err != nil {
		t.Fatal(err)
	}
	if h.wrap == "" {
		h.Cmd = exec.Command(path, h.args...)
	} else {
		h.Cmd = exec.Command("/bin/sh", append([]string{"-c", h.wrap, path}, h.args...)...)
	}
	h.Env = append([]string{"PATH=/usr/bin:/bin"}, h.env...)
	stderr := filepath.Join(t.TempDir(), "said")
	if h.said == nil {
		if h.said, err = os.Create(stderr); err != nil {
			t.Fatal(err)
		}
	}
	h.Stdout, h.Stderr = h.said, h.said
	h.ended = make(chan struct{})
	h.started = time.Now()
	if err := p.start(h.Cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(h.ended)
		_ = h.Wait() // the exit code tells
		h.exited = time.Now()
		h.said.Close()
		h.read(stderr)
	}()
}

// read reads what was said.
func (h *hook) read(stderr string) {
	text, _ := os.ReadFile(stderr)
	if h.log != "" {
		logged, _ := os.ReadFile(h.log)
		text = append(text, logged...)
	}
	h.output = string(text)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			h.story = append(h.story, e)
		}
	}
}

// end is the story's last line, if the hook came to it.
func (h *hook) end() event {
	for i := len(h.story) - 1; i >= 0; i-- {
		if h.story[i].Event == "end" {
			return h.story[i]
		}
	}
	return event{}
}

// decided is when the hook let SIGTERM through.
func (h *hook) decided() time.Time {
	if e := h.end(); !e.Time.IsZero() {
		return e.Time
	}
	return h.exited
}

// watchMemory notes the most memory that it takes: what wait4 tells of it counts the test's own, which
// it is before it becomes lull.
func (h *hook) watchMemory() {
	for {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Process.Pid))
		_, after, _ := strings.Cut(string(status), "VmHWM:")
		var kib int
		_, _ = fmt.Sscan(after, &kib)
		if strings.Contains(string(status), "Name:\tlull") {
			h.memory = max(h.memory, kib>>10)
		}
		select {
		case <-h.ended:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}
