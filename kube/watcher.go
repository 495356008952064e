package kube

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// Options of a Watcher. The zero value watches all Services and logs nothing.
type Options struct {
	// Services limits the View to these, by name. Empty: all that name the pod.
	Services []string
	// Log gets a line, at debug level, for each request that fails and each
	// list that was read. Nil: none.
	Log *slog.Logger
}

// Watcher keeps a View of one pod up to date for as long as Run runs: whatever
// the API server does, it goes on trying, and says in the View how that goes.
type Watcher struct {
	client *client
	log    *slog.Logger

	mu      sync.Mutex
	know    knowledge
	view    View
	changed chan struct{} // closed when view is replaced by one that differs
	who     whoami
	moved   chan struct{} // closed when who changes
}

// NewWatcher prepares to watch the pod that id names. It asks the API server
// nothing yet; its errors are of the configuration alone: an address that is
// none, certificates or a token file that can't be read.
func NewWatcher(cfg *rest.Config, id Identity, opts Options) (*Watcher, error) {
	if cfg == nil {
		return nil, errors.New("no configuration of the API server")
	}
	if id.Namespace == "" || id.Name == "" && id.UID == "" {
		return nil, errors.New("no pod to watch: namespace, and name or uid, must be known")
	}
	c, err := newClient(cfg, id.Namespace)
	if err != nil {
		return nil, err
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		client: c, log: log,
		know:    newKnowledge(id, opts.Services),
		changed: make(chan struct{}), moved: make(chan struct{}),
	}
	w.view, w.who = w.know.view(), w.know.whoami()
	return w, nil
}

// Run watches until ctx is done, and returns when all that it started has
// ended and its connections are closed. It may be called once.
func (w *Watcher) Run(ctx context.Context) {
	defer w.client.close()
	var all sync.WaitGroup
	tried := make(chan struct{})
	all.Go(func() { w.followPod(ctx, tried) })
	all.Go(func() { w.followSlices(ctx, tried) })
	all.Wait()
}

// View returns the newest view, and a channel that is closed once there is one
// that differs in more than Contact.
func (w *Watcher) View() (View, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view.clone(), w.changed
}

// learn changes what is known, and tells who waits for that.
func (w *Watcher) learn(what func(*knowledge)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what(&w.know)
	old := w.view
	w.view = w.know.view()
	if !w.view.sameAs(old) {
		close(w.changed)
		w.changed = make(chan struct{})
	}
	if who := w.know.whoami(); !who.equal(w.who) {
		w.who = who
		close(w.moved)
		w.moved = make(chan struct{})
	}
}

// whoami returns how to find the pod in a slice, and a channel that is closed
// when that changes.
func (w *Watcher) whoami() (whoami, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.who, w.moved
}

// report learns the outcome of a request, unless it is that ctx has ended.
func (w *Watcher) report(ctx context.Context, o op, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	if err == nil {
		w.learn(func(k *knowledge) { k.succeeded(o) })
		return
	}
	w.learn(func(k *knowledge) {
		k.failed(o, err)
		w.log.Debug("request failed", "request", o.String(), "err", k.failures[o].err)
	})
}

// sleep waits, and reports whether it was for the whole time.
func sleep(ctx context.Context, d time.Duration, sooner <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-sooner:
	case <-ctx.Done():
	}
	return false
}
