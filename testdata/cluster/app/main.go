// Command app is the web server of the scenarios: it answers, and on SIGTERM closes its listener at
// once and then finishes what it has.
//
// "What it has" includes keep-alive connections: each is told with its next answer that it closes
// (Connection: close). A server that just shuts idle ones may cut off a request that is on its way,
// a race that no hook can help.
//
// On SIGHUP it lets its clients go: from then on every answer says that its connection ends, and
// nothing else changes.
//
// It logs one JSON object a line to stderr: listening, sigterm (with what had come until then), done,
// and stalled, each time that its pod stood still.
//
//	app probe ADDRESS
//
// is a probe of type exec instead: it connects, asks for /ready and exits with 0 if the answer is
// 200.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type options struct {
	listen        string
	start         time.Duration
	slow          time.Duration
	livenessFails time.Duration
	hang          time.Duration
	redirect      bool
	lock          string
	grpc          string
	mptcp         bool
	drain         time.Duration
	linger        time.Duration
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "probe" {
		if err := probe(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "app probe:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.listen, "listen", ":8080", "`address` to serve on")
	flag.DurationVar(&o.start, "start", 0, "listen only after this long")
	flag.DurationVar(&o.slow, "slow", 0, "take this long for each answer")
	flag.DurationVar(&o.livenessFails, "liveness-fails", 0, "fail /live from this long after the start; 0: never")
	flag.DurationVar(&o.hang, "hang", 0, "accept no connection from this long after the start; 0: never")
	flag.BoolVar(&o.redirect, "redirect", false, "answer / by a redirect to /login")
	flag.StringVar(&o.lock, "lock", "", "be ready only while holding the lock on this `file`: one of many is the leader")
	flag.StringVar(&o.grpc, "grpc", "", "`address` to serve gRPC's health checks on, too")
	flag.BoolVar(&o.mptcp, "mptcp", true, "listen with MPTCP where the kernel has it, as Go servers do")
	flag.DurationVar(&o.drain, "drain", 5*time.Second, "serve connections that are open at SIGTERM for at most this long")
	flag.DurationVar(&o.linger, "linger", 0, "end no sooner than this after SIGTERM")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	go tellStalls()
	if err := run(o); err != nil {
		slog.Error("failed", "error", err.Error())
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	select {
	case <-time.After(o.start):
	case <-ctx.Done():
		return nil
	}
	config := net.ListenConfig{}
	config.SetMultipathTCP(o.mptcp)
	listener, err := config.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	if o.hang > 0 {
		listener = newHangingListener(listener, o.hang)
	}
	s := &server{options: o, started: time.Now(), open: map[net.Conn]struct{}{}}
	if o.lock != "" {
		go s.lead(o.lock)
	}
	if o.grpc != "" {
		if err := serveHealth(ctx, o.grpc); err != nil {
			return err
		}
	}
	s.letGoOn(syscall.SIGHUP)
	ended := make(chan error, 1)
	go func() { ended <- s.http().Serve(listener) }()
	slog.Info("listening", "address", listener.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop() // a second SIGTERM ends it
	s.draining.Store(true)
	_ = listener.Close()
	at := time.Now()
	slog.Info("sigterm", s.summary()...)
	s.finish(at)
	slog.Info("done", "late", s.late.Load(), "seconds", time.Since(at).Seconds(), "open", s.openCount())
	return nil
}

// server counts what comes in. Probes, which ask for /ready, /live and, by a redirect, /login, are
// left out.
type server struct {
	options
	started  time.Time
	letsGo   atomic.Bool // each answer ends its connection
	draining atomic.Bool // the same, after SIGTERM
	leader   atomic.Bool // it holds the lock that it was given
	lockFile *os.File

	connections, requests, late atomic.Int64
	lastConnection, lastRequest atomic.Int64 // Unix nanoseconds, 0 for never

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// connection is kept with each connection: whether a client's request has come on it.
type connection struct{ used atomic.Bool }

type connectionKey struct{}

func (s *server) http() *http.Server {
	return &http.Server{
		Handler: s,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, new(connection))
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			s.mu.Lock()
			defer s.mu.Unlock()
			switch state {
			case http.StateNew:
				s.open[c] = struct{}{}
			case http.StateClosed, http.StateHijacked:
				delete(s.open, c)
			}
		},
	}
}

// letGoOn has the server let its clients go once the signal comes.
func (s *server) letGoOn(sig os.Signal) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, sig)
	go func() {
		<-asked
		s.letsGo.Store(true)
		slog.Info("letting go")
	}()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if s.draining.Load() || s.letsGo.Load() {
		w.Header().Set("Connection", "close")
	}
	switch r.URL.Path {
	case "/ready", "/login":
		if s.lock != "" && !s.leader.Load() {
			http.Error(w, "standby", http.StatusServiceUnavailable)
		}
		return
	case "/":
		if s.redirect {
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
	case "/live":
		if s.livenessFails > 0 && now.Sub(s.started) > s.livenessFails {
			http.Error(w, "as asked", http.StatusInternalServerError)
		}
		return
	}
	s.requests.Add(1)
	s.lastRequest.Store(now.UnixNano())
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && !c.used.Swap(true) {
		s.connections.Add(1)
		s.lastConnection.Store(now.UnixNano())
	}
	if s.draining.Load() {
		s.late.Add(1)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	time.Sleep(s.slow)
	if s.draining.Load() || s.letsGo.Load() {
		w.Header().Set("Connection", "close")
	}
	fmt.Fprintf(w, "%s %s %d\n", r.Method, r.URL.Path, n)
}

// finish returns when every connection has ended, or drain has passed, and linger has.
func (s *server) finish(since time.Time) {
	for time.Since(since) < s.linger || (s.openCount() > 0 && time.Since(since) < s.drain) {
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *server) openCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func (s *server) summary() []any {
	list := []any{"connections", s.connections.Load(), "requests", s.requests.Load(), "open", s.openCount()}
	for name, at := range map[string]int64{"last_connection": s.lastConnection.Load(), "last_request": s.lastRequest.Load()} {
		if at != 0 {
			list = append(list, name, time.Unix(0, at))
		}
	}
	return list
}
