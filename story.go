package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lull/wait"
)

// The rules of lull's voice. Everything it says goes through here, an event a line, each a sentence
// without a capital and without a full stop, the text after "lull: ". A line says what happened in
// the user's words; where something failed it says what lull does instead, and what to change.
// People get the sentence alone, machines the sentence and its figures as JSON, marked
// "logger":"lull" because it stands among the app's own lines.
//
// Nothing that reads the story may hold the hook up: lines that cannot be written at once wait in a
// bounded queue, and are lost when that is full.

// story is where lull's events go.
type story struct {
	Log    *slog.Logger
	outs   []*queue
	status *status // nil unless a person is watching
}

// openStory opens stderr and what the flags name besides.
func openStory(f storyFlags) *story {
	s := &story{}
	terminal := isTerminal(os.Stderr)
	stderr := newQueue(os.Stderr)
	s.outs = append(s.outs, stderr)
	if terminal && f.Format != "json" {
		s.status = &status{out: stderr}
		stderr.before = clearLine
	}
	handlers := []slog.Handler{handler(f.Format, terminal, level(f.Debug), stderr)}
	log, err := openLog(f.Log, terminal)
	if log != nil {
		out := newQueue(log)
		s.outs = append(s.outs, out)
		handlers = append(handlers, handler(f.Format, false, level(f.Debug), out))
	}
	s.Log = slog.New(slog.NewMultiHandler(handlers...))
	if err != nil {
		s.Log.Warn(err.Error()+": telling the story to stderr alone; see --log", "event", "log")
	}
	return s
}

// Close gives the last lines a moment to be written.
func (s *story) Close() {
	if s.status != nil {
		s.status.stop()
	}
	late := time.After(farewell)
	for _, out := range s.outs {
		out.end()
	}
	for _, out := range s.outs {
		select {
		case <-out.done:
		case <-late:
			return
		}
	}
}

// Progress shows a person what the hook is waiting for.
func (s *story) Progress(p wait.Progress) {
	if s.status != nil {
		s.status.show(p)
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// hasTerminal reports whether a person runs this: a hook has no controlling terminal, wherever its
// output goes.
func hasTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

// openLog opens where the story goes besides stderr; nil for nowhere. It never blocks: a FIFO
// without a reader is an error.
func openLog(name string, terminal bool) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | unix.O_NONBLOCK
	switch name {
	case "none":
		return nil, nil
	case "auto":
		if terminal || !inPod() {
			return nil, nil
		}
		return openContainerLog(flags), nil
	}
	f, err := os.OpenFile(name, flags|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log: %w", err)
	}
	return f, nil
}

// openContainerLog opens the stderr of the container's first process: what a hook writes there
// shows up in `kubectl logs`, while its own output is thrown away. It returns nil where that is not
// to be had: it may be another user's, a socket, or what stderr is anyway.
func openContainerLog(flags int) *os.File {
	first, err := firstProcess("/proc")
	if err != nil {
		return nil
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/2", first.pid), flags, 0)
	if err == nil && same(f, os.Stderr) {
		f.Close()
		f = nil
	}
	return f
}

func same(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// handler writes in a format, which "auto" leaves to who reads: a person at a terminal, or a
// machine.
func handler(format string, terminal bool, least slog.Level, w io.Writer) slog.Handler {
	if format == "text" || format == "auto" && terminal {
		return &text{w, least}
	}
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least}).WithAttrs([]slog.Attr{slog.String("logger", "lull")})
}

// level is the least that is told.
func level(debug bool) slog.Level {
	if debug {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// text is the handler for people: the sentence alone.
type text struct {
	w     io.Writer
	least slog.Level
}

func (t *text) Enabled(_ context.Context, l slog.Level) bool { return l >= t.least }
func (t *text) WithAttrs([]slog.Attr) slog.Handler           { return t }
func (t *text) WithGroup(string) slog.Handler                { return t }

func (t *text) Handle(_ context.Context, r slog.Record) error {
	mark := ""
	switch {
	case r.Level >= slog.LevelError:
		mark = "error: "
	case r.Level >= slog.LevelWarn:
		mark = "warning: "
	case r.Level < slog.LevelInfo:
		mark = "debug: "
	}
	_, err := fmt.Fprintf(t.w, "lull: %s%s\n", mark, r.Message)
	return err
}

const (
	maxLines  = 256 // that wait to be written
	clearLine = "\r\x1b[K"
	// farewell is how long the last lines may take.
	farewell = 200 * time.Millisecond
)

// queue writes lines to a file without making the writer wait.
type queue struct {
	before string // written ahead of every line
	lines  chan []byte
	done   chan struct{}
	mu     sync.Mutex // guards closed against Write
	closed bool
}

func newQueue(f *os.File) *queue {
	q := &queue{lines: make(chan []byte, maxLines), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		for line := range q.lines {
			_, _ = f.Write(line) // an error has nobody to be told to
		}
	}()
	return q
}

func (q *queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(p), nil
	}
	select {
	case q.lines <- append([]byte(q.before), p...):
	default:
	}
	return len(p), nil
}

// end takes no more lines; done is closed when those before are written.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	close(q.lines)
}

// status is the line at the bottom of a terminal that counts down.
type status struct {
	out  *queue
	mu   sync.Mutex
	now  wait.Progress
	quit chan struct{} // closed to end the ticker; nil before there is one
}

func (s *status) show(p wait.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = p
	if s.quit == nil {
		s.quit = make(chan struct{})
		go s.tick(s.quit)
	}
}

func (s *status) tick(quit <-chan struct{}) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
			s.print()
		}
	}
}

// print writes the line, but not after stop.
func (s *status) print() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quit == nil {
		return
	}
	fmt.Fprint(s.out, statusLine(s.now, time.Now()))
}

func statusLine(p wait.Progress, now time.Time) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "  waiting for the %s", p.Stage)
	if p.Stage == wait.Closing {
		fmt.Fprintf(&b, " of %d open connections", p.Open)
	}
	if !p.Due.IsZero() {
		fmt.Fprintf(&b, ", %.1fs to go if nothing arrives", max(0, p.Due.Sub(now).Seconds()))
	}
	fmt.Fprintf(&b, ", %.1fs left of the budget", max(0, p.Deadline.Sub(now).Seconds()))
	return b.String()
}

func (s *status) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quit != nil {
		close(s.quit)
		s.quit = nil
	}
	fmt.Fprint(s.out, "") // clears the line
}
