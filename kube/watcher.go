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
	// Log gets a line at debug level for each request to the API server: verb, path, outcome and
	// how long it took. Nil: none.
	Log *slog.Logger
}

// Watcher keeps a View of one pod up to date for as long as Run runs: whatever the API server does,
// it goes on trying, and says in the View how that goes.
type Watcher struct {
	client *client

	mu      sync.Mutex
	know    knowledge
	view    View
	stale   bool          // what is known has changed since the view was made
	rests   time.Time     // until when no view is made unless somebody asks
	next    *time.Timer   // makes one then; nil if none is planned
	changed chan struct{} // closed when view is replaced by one that differs
	who     whoami
	moved   chan struct{} // closed when who changes
	name    string        // to read the pod by
	renamed chan struct{} // closed when name changes
}

// NewWatcher prepares to watch the pod that id names. It asks the API server nothing yet; its
// errors are of the configuration alone: an address that is none, certificates or a token file that
// cannot be read.
func NewWatcher(cfg *rest.Config, id Identity, opts Options) (*Watcher, error) {
	if cfg == nil {
		return nil, errors.New("no configuration of the API server")
	}
	if id.Namespace == "" || id.Name == "" && id.UID == "" {
		return nil, errors.New("no pod to watch: namespace, and name or uid, must be known")
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		know:    newKnowledge(id, opts.Services),
		changed: make(chan struct{}), moved: make(chan struct{}), renamed: make(chan struct{}),
	}
	c, err := newClient(cfg, id.Namespace, log, w.asks)
	if err != nil {
		return nil, err
	}
	w.client = c
	w.view, w.who, w.name = w.know.view(), w.know.whoami(), w.know.podName()
	return w, nil
}

// Run watches until ctx is done, and returns when all that it started has ended and its connections
// are closed. It may be called once.
func (w *Watcher) Run(ctx context.Context) {
	defer w.client.close()
	var all sync.WaitGroup
	tried := make(chan struct{})
	all.Go(func() { w.followPod(ctx, tried) })
	all.Go(func() { w.followSlices(ctx, tried) })
	all.Go(func() { w.followOthers(ctx) })
	all.Go(func() { w.followPolicies(ctx) })
	all.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next != nil {
		w.next.Stop()
	}
}

// View returns the newest view, and a channel that is closed once there is one that differs in more
// than Contact and Asked.
func (w *Watcher) View() (View, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refresh()
	v := w.view.clone()
	v.Asked = w.know.owed.since(time.Now())
	return v, w.changed
}

// asks notes that a request is being sent.
func (w *Watcher) asks() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.know.owed.ask(time.Now())
}

// A view costs as much as there are endpoints to count, a change as much as one slice has. So views
// are made in a tenth of the time at most, as long as that delays none for longer than viewLatest.
const (
	viewRest   = 9
	viewLatest = 100 * time.Millisecond
)

// learn changes what is known, and tells who waits for that: at once, or once the next view may be
// made.
func (w *Watcher) learn(what func(*knowledge)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what(&w.know)
	w.stale = true
	rest := time.Until(w.rests)
	if rest <= 0 {
		w.refresh()
		return
	}
	if w.next == nil {
		w.next = time.AfterFunc(rest, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.next = nil
			w.refresh()
		})
	}
}

// refresh makes the view anew, if what is known has changed since it was made.
func (w *Watcher) refresh() {
	if !w.stale {
		return
	}
	began := time.Now()
	w.stale = false
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
	if name := w.know.podName(); name != w.name {
		w.name = name
		close(w.renamed)
		w.renamed = make(chan struct{})
	}
	now := time.Now()
	w.rests = now.Add(min(viewRest*now.Sub(began), viewLatest))
}

// whoami returns how to find the pod in a slice, and a channel that is closed when that changes.
func (w *Watcher) whoami() (whoami, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refresh()
	return w.who, w.moved
}

// podName returns the name to read the pod by, and a channel that is closed when that changes.
func (w *Watcher) podName() (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refresh()
	return w.name, w.renamed
}

// report learns the outcome of a request, unless it is that ctx has ended.
func (w *Watcher) report(ctx context.Context, o op, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	if err == nil {
		w.learn(func(k *knowledge) { k.recordSuccess(o) })
		return
	}
	w.learn(func(k *knowledge) { k.recordFailure(o, err) })
}

// refuses reports whether a kind of request fails in a way that waiting does not mend.
func (w *Watcher) refuses(o op) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.know.failures[o].refused
}
