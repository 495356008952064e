package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"lull/procnet"
	"lull/wait"
)

// tick is how often lull watch looks. The hook looks about once a quiet window.
const tick = 250 * time.Millisecond

// maxArrivals is how many arrivals of one look are told each by itself.
const maxArrivals = 4096

type watchCmd struct {
	podFlags    `embed:""`
	socketFlags `embed:""`

	What   string `arg:"" optional:"" placeholder:"pod/NAME" help:"Another pod, or deploy/NAME, to be told how it is watched. None: what this runs in."`
	Format string `default:"auto" enum:"auto,text,json" env:"LULL_FORMAT" help:"text for a person, json one object a line; auto: text on a terminal, else json."`
	Debug  bool   `env:"LULL_DEBUG" help:"Tell of each request to the API server, too."`
}

// Run prints until the context ends, which is no failure: it has no other end.
func (w *watchCmd) Run(ctx context.Context) error {
	if err := w.refusal(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Unlike a hook it waits for its reader, and ends with him.
	out := &reader{stop: stop}
	log := slog.New(handler(w.Format, isTerminal(os.Stdout), level(w.Debug), out))
	sockets, err := w.socketFlags.open(log)
	if err != nil {
		return err
	}
	if sockets.Sockets == nil {
		return errors.New("no sockets to watch: neither netlink nor /proc can be read here")
	}
	defer sockets.Close()
	control := w.podFlags.open(ctx, log)
	defer control.Close()

	policy := wait.Policy{Services: w.podFlags.asked(), Ports: w.socketFlags.asked()}
	watching := newWatcher(log, policy, control, sockets)
	defer watching.summary()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if err := watching.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// refusal is why there is nothing to watch here, nil if there is: the connections of this machine
// are not those of a pod elsewhere.
func (w *watchCmd) refusal() error {
	in, beside := w.podFlags, w.podFlags
	if kind, name, ok := strings.Cut(w.What, "/"); ok && !slices.Contains([]string{"po", "pod", "pods"}, kind) {
		in.Pod = w.What // kubectl exec takes one of a Deployment's pods, kubectl debug does not
	} else if w.What != "" {
		in.Pod = cmp.Or(name, kind)
		beside.Pod = in.Pod
	}
	how := fmt.Sprintf("in the pod (%s -- /lull watch), or beside it (%s -it --image=IMAGE --target=CONTAINER --profile=restricted -- /lull watch)",
		in.kubectl("exec"), beside.kubectl("debug"))
	switch {
	case in.elsewhere():
		return errors.New("the connections of this machine are not the pod's: watch them " + how)
	case isAimless(w.podFlags, w.socketFlags):
		return errors.New("which connections? those of a pod are watched " + how + ", those of this machine with --port")
	}
	return nil
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

// watcher tells what has changed since it last looked.
type watcher struct {
	log     *slog.Logger
	policy  wait.Policy
	control controlPlane
	sockets openSockets
	rules   *wait.ProbeRules
	seen    seen

	view   wait.View
	ports  []uint16
	queued map[uint16]uint32
}

func newWatcher(log *slog.Logger, policy wait.Policy, control controlPlane, sockets openSockets) *watcher {
	return &watcher{
		log: log, policy: policy, control: control, sockets: sockets,
		rules: wait.NewProbeRules(procnet.Gateways("/proc"), inPod()), seen: seen{since: time.Now(), clients: map[netip.Addr]int{}},
	}
}

func (w *watcher) look(ctx context.Context) error {
	if w.control.Cluster != nil {
		w.observe()
	} else {
		w.ports = w.policy.Watched(w.view)
	}
	arrivals, more, err := w.arrivals(ctx)
	for _, a := range arrivals {
		w.tell(a)
	}
	if more > 0 {
		w.log.Info(fmt.Sprintf("and %d more", more), "event", "more", "count", more)
	}
	if err != nil {
		return err
	}
	queues, err := w.sockets.source.Queued(ctx, w.ports)
	queued := map[uint16]uint32{}
	for _, q := range queues {
		queued[q.Port] = q.Len
		if q.Len != w.queued[q.Port] {
			w.log.Info(fmt.Sprintf("%d waiting in the accept queue of :%d", q.Len, q.Port), "event", "queue", "port", q.Port, "len", q.Len)
		}
	}
	w.queued = queued
	return err
}

// arrivals are those since the last look, in their order, and how many more there were. A connection
// that the look showed half open, and again when it was complete, is the later of the two.
func (w *watcher) arrivals(ctx context.Context) (all []wait.Arrival, more int, err error) {
	_, err = w.sockets.Arrivals(ctx, w.ports, func(a wait.Arrival) {
		switch {
		case a.Kind == wait.Waiting: // told by look, when it changes
		case len(all) >= maxArrivals:
			more += a.Count
		default:
			all = append(all, a)
		}
	}, nil)
	sort.SliceStable(all, func(i, j int) bool { return all[i].At.Before(all[j].At) })
	last := map[uint64]int{}
	for i, a := range all {
		if a.Kind == wait.Connection {
			last[a.Conn] = i
		}
	}
	kept := all[:0]
	for i, a := range all {
		if a.Kind != wait.Connection || a.Conn == 0 || last[a.Conn] == i {
			kept = append(kept, a)
		}
	}
	return kept, more, err
}

// tell tells one arrival, and whose it is.
func (w *watcher) tell(a wait.Arrival) {
	whose, why := w.rules.Record(a)
	w.seen.record(a, whose)
	line := a.At.Format("15:04:05.000") + " " + arrivalText(a)
	switch {
	case why != "" && whose == wait.ByClient:
		line += ", a client's: " + why
	case whose == wait.ByProbe:
		line += ", a probe's: " + why
	case whose == wait.Unclear:
		line += ": " + why
	}
	w.log.Info(line, "event", "arrival", "at", a.At, "kind", a.Kind.String(), "whose", whose.String(), "why", why,
		"port", a.Port, "peer", a.Peer.String(), "conn", a.Conn, "count", a.Count)
}

// arrivalText is the arrival's own words, with the peer's port where that is known.
func arrivalText(a wait.Arrival) string {
	text := a.String()
	if a.Peer.IsValid() && a.Peer.Port() != 0 {
		text = strings.Replace(text, "from "+a.Peer.Addr().String(), "from "+a.Peer.String(), 1)
	}
	return text
}

// observe tells what the control plane says anew.
func (w *watcher) observe() {
	before := w.view
	view, _ := w.control.View()
	w.view = w.policy.Narrow(view)
	w.rules.Learn(w.view)
	if w.view.SlicesKnown || !before.SlicesKnown {
		w.ports = w.policy.Watched(w.view)
	}
	if err := w.view.Err; err != nil && (before.Err == nil || before.Err.Error() != err.Error()) {
		w.log.Warn(err.Error(), "event", "missing")
	}
	if w.view.Deleting && !before.Deleting {
		w.log.Info("the pod is being deleted", "event", "deleting")
	}
	was := map[string]wait.Service{}
	for _, s := range before.Services {
		was[s.Name] = s
	}
	for _, s := range w.view.Services {
		if old, ok := was[s.Name]; !ok || !reflect.DeepEqual(old, s) {
			w.log.Info("Service "+s.Name+": "+serviceText(s), "event", "service", "service", s.Name,
				"in_rotation", s.InRotation, "serving", s.Serving, "ready", s.Ready, "coming", s.Coming)
		}
	}
}

// serviceText is what a Service makes of the pod.
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
