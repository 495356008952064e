package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// source lists and watches one resource on behalf of a client-go Reflector, and tells the Watcher
// how each request went, which a Reflector keeps to itself.
type source struct {
	resource string // as in op
	narrow   func(*metav1.ListOptions)
	list     func(context.Context, metav1.ListOptions) (runtime.Object, error)
	keep     func(page runtime.Object, first bool) error // takes what counts out of a page: the pager keeps the rest
	watch    func(context.Context, metav1.ListOptions) (watch.Interface, error)
	report   func(context.Context, op, error)
	pages    int // of the list that is being read

	refusing error     // what a watch was refused with
	again    time.Time // when to ask for one again
	refused  backoff
}

var (
	_ cache.ListerWatcher            = (*source)(nil)
	_ cache.ListerWatcherWithContext = (*source)(nil)
)

// ListWithContext reads a page. The Reflector's pager follows the continue tokens, keeps all pages
// until the last, and reads all in one page if they expire; it has no bound of its own.
func (s *source) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	if opts.Continue == "" {
		s.pages = 0
	}
	list, err := s.page(ctx, opts)
	s.report(ctx, op{"list", s.resource}, err)
	return list, err
}

func (s *source) page(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	if s.pages++; s.pages > maxPages {
		return nil, errTooMany
	}
	s.narrow(&opts)
	list, err := s.list(ctx, opts)
	if err == nil {
		err = s.keep(list, opts.Continue == "")
	}
	return list, err
}

// WatchWithContext opens a watch. client-go takes a connection that breaks before the answer for a
// watch that has already ended; here it is a failure.
func (s *source) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	if s.refusing != nil && time.Now().Before(s.again) {
		return nil, s.refusing // the Reflector lists again, which shows changes as well
	}
	s.narrow(&opts)
	w, err := s.watch(ctx, opts)
	if s.refusing = nil; apierrors.IsForbidden(err) {
		s.refusing, s.again = err, time.Now().Add(jitter(s.refused.next()))
	}
	if err == nil {
		if _, open := w.(*watch.StreamWatcher); !open {
			w.Stop()
			w, err = nil, errors.New("the connection broke, or nothing came in time")
		}
	}
	s.report(ctx, op{"watch", s.resource}, err)
	return w, err
}

// List and Watch make a source a cache.ListerWatcher; a Reflector calls the others.
func (s *source) List(opts metav1.ListOptions) (runtime.Object, error) {
	return s.ListWithContext(context.Background(), opts)
}

func (s *source) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return s.WatchWithContext(context.Background(), opts)
}

// IsWatchListSemanticsUnSupported keeps the Reflector to list and watch: a stream of the initial
// state (KEP-3157) is not served by every API server.
func (s *source) IsWatchListSemanticsUnSupported() bool { return true }

// store hands what a Reflector reads to the Watcher.
type store[T runtime.Object] struct {
	all   func([]T)
	one   func(T)
	gone  func(T)
	alive func() // a bookmark
}

// Replace takes a whole list. One object of another type spoils it: what is missing must not pass
// for what is not there.
func (s store[T]) Replace(objs []any, _ string) error {
	all := make([]T, 0, len(objs))
	for _, obj := range objs {
		o, ok := obj.(T)
		if !ok {
			return fmt.Errorf("list holds a %T", obj)
		}
		all = append(all, o)
	}
	s.all(all)
	return nil
}

func (s store[T]) Add(obj any) error    { return each(obj, s.one) }
func (s store[T]) Update(obj any) error { return each(obj, s.one) }
func (s store[T]) Delete(obj any) error { return each(obj, s.gone) }
func (s store[T]) Resync() error        { return nil }

func (s store[T]) Bookmark(string) error {
	s.alive()
	return nil
}

func each[T any](obj any, do func(T)) error {
	o, ok := obj.(T)
	if !ok {
		return fmt.Errorf("event holds a %T", obj)
	}
	do(o)
	return nil
}

var (
	_ cache.ReflectorStore         = store[runtime.Object]{}
	_ cache.ReflectorBookmarkStore = store[runtime.Object]{}
)

// mirror runs a Reflector until ctx is done.
func mirror[T runtime.Object](ctx context.Context, from *source, example T, to store[T], pageSize int64) {
	r := cache.NewReflectorWithOptions(from, example, to, cache.ReflectorOptions{
		Name: from.resource,
		// A hook lives for some 20 s: client-go's own, 0.8 to 30 s, is made for what runs for
		// months.
		Backoff: &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 2 * time.Second},
	})
	r.WatchListPageSize = pageSize
	r.RunWithContext(ctx)
}
