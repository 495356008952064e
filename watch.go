package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"lull/wait"
)

// tick is how often lull watch looks. The hook looks about once a quiet window.
const tick = 250 * time.Millisecond

type watchCmd struct {
	podFlags    `embed:""`
	socketFlags `embed:""`
	Format      string `default:"auto" enum:"auto,text,json" env:"LULL_FORMAT" help:"text for a person, json one object a line; auto: text on a terminal, else json."`
}

// Run prints until the context ends, which is no failure: it has no other end.
func (w *watchCmd) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Unlike a hook it waits for its reader, and ends with him.
	out := &reader{stop: stop}
	log := slog.New(handler(w.Format, isTerminal(os.Stdout), out))
	source, err := w.socketFlags.open(log)
	if err != nil {
		return err
	}
	if source == nil {
		return errors.New("no sockets to watch: neither netlink nor /proc can be read here")
	}
	defer source.(sockets).Close()
	cluster, ended := w.podFlags.watch(ctx, w.Port, log)
	defer ended()
	defer stop()

	l := &lookout{Logger: log, cluster: cluster, sockets: source, view: wait.View{Ports: numbers(w.Port)}}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if err := l.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// reader is whoever reads the standard output.
type reader struct{ stop func() }

func (r *reader) Write(p []byte) (int, error) {
	n, err := os.Stdout.Write(p)
	if err != nil {
		r.stop()
	}
	return n, err
}

// lookout tells what has changed since it last looked.
type lookout struct {
	*slog.Logger
	cluster wait.Cluster
	sockets wait.Sockets
	view    wait.View
	queued  map[uint16]uint32
}

func (l *lookout) look(ctx context.Context) error {
	if l.cluster != nil {
		l.turn()
	}
	err := l.sockets.Arrivals(ctx, l.view.Ports, func(a wait.Arrival) {
		l.Info(a.At.Format("15:04:05.000")+" "+a.String(), "event", "arrival",
			"at", a.At, "kind", a.Kind.String(), "port", a.Port, "peer", a.Peer.String(), "conn", a.Conn, "count", max(1, a.Count))
	})
	if err != nil {
		return err
	}
	queued := map[uint16]uint32{}
	err = l.sockets.Queued(ctx, l.view.Ports, func(q wait.Queue) { queued[q.Port] = q.Len })
	for port, n := range queued {
		if n != l.queued[port] {
			l.Info(fmt.Sprintf("%d waiting in the accept queue of :%d", n, port), "event", "queue", "port", port, "len", n)
		}
	}
	l.queued = queued
	return err
}

// turn tells what the control plane says anew.
func (l *lookout) turn() {
	before := l.view
	l.view, _ = l.cluster.View()
	if !l.view.SlicesKnown {
		l.view.Ports = before.Ports
	}
	if err := l.view.Err; err != nil && (before.Err == nil || before.Err.Error() != err.Error()) {
		l.Warn(err.Error(), "event", "missing")
	}
	if l.view.Deleting && !before.Deleting {
		l.Info("the pod is being deleted", "event", "deleting")
	}
	was := map[string]wait.Service{}
	for _, s := range before.Services {
		was[s.Name] = s
	}
	for _, s := range l.view.Services {
		if old, ok := was[s.Name]; !ok || old != s {
			l.Info("Service "+s.Name+": "+serviceText(s), "event", "service", "service", s.Name,
				"in_rotation", s.InRotation, "serving", s.Serving, "ready", s.Ready, "coming", s.Coming)
		}
	}
}

// serviceText says what a Service makes of the pod.
func serviceText(s wait.Service) string {
	state := "out of rotation"
	switch {
	case s.InRotation:
		state = "in rotation"
	case s.AlwaysReady:
		state = "listed ready for ever (publishNotReadyAddresses)"
	case s.Serving:
		state = "out of rotation, still serving"
	}
	return fmt.Sprintf("%s; others: %d ready, %d on their way", state, s.Ready, s.Coming)
}
