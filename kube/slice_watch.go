package kube

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	triedMost = 5 * time.Second // how long the first answer about the pod is waited for

	retryFirst = 200 * time.Millisecond // before the namespace's slices are read again, after a failure
	retryMost  = 2 * time.Second

	recheckFirst = 2 * time.Second // the same, as long as no slice names the pod
	recheckMost  = 32 * time.Second

	doubtFirst = 3 * time.Second // before a watch is doubted in which what should happen does not
	doubtMost  = 12 * time.Second

	// maxNames is how many Services a watch can be narrowed to: their names are part of a URL.
	maxNames = 50
)

// followSlices finds the Services that name the pod, then watches their slices alone: a namespace
// can have thousands of others. A Service that comes to name the pod later is not noticed; a pod
// that is being stopped gets no new ones.
func (w *Watcher) followSlices(ctx context.Context, tried <-chan struct{}) {
	// A slice that names no pod is recognized by the pod's addresses, which come with the pod.
	sleep(ctx, triedMost, tried)
	retry := backoff{first: retryFirst, most: retryMost}
	refused := backoff{first: refusedFirst, most: refusedMost}
	recheck := backoff{first: recheckFirst, most: recheckMost}
	for ctx.Err() == nil {
		who, moved := w.whoami()
		if !who.known() {
			sleep(ctx, recheckMost, moved)
			continue
		}
		of, err := w.discover(ctx, who)
		switch {
		case err != nil && w.refuses(op{"list", sliceResource}):
			sleep(ctx, jitter(refused.next()), moved)
		case err != nil:
			sleep(ctx, jitter(retry.next()), moved)
		case of.none():
			w.learn(func(k *knowledge) { k.sawSlices(map[string]*slice{}) })
			sleep(ctx, jitter(recheck.next()), moved)
			retry.reset()
		default:
			w.reflectSlices(ctx, of.selector(), moved)
			recheck.reset()
			if !sleep(ctx, jitter(retry.next()), moved) { // they were too large to be kept, or the pod is another
				retry.reset()
			}
		}
	}
}

// services are those that name the pod: by the label that a watch can be narrowed to, or else only
// found by looking at everything.
type services struct {
	labelled map[string]bool
	others   bool
}

func (s services) none() bool { return len(s.labelled) == 0 && !s.others }

// selector is the label selector of their slices, "" for all of the namespace.
func (s services) selector() string {
	if s.others {
		return ""
	}
	return selectorOf(slices.Sorted(maps.Keys(s.labelled)))
}

// selectorOf is the label selector of these Services' slices, "" if they cannot be selected so.
func selectorOf(names []string) string {
	if len(names) == 0 || len(names) > maxNames {
		return ""
	}
	in, err := labels.NewRequirement(discoveryv1.LabelServiceName, selection.In, names)
	if err != nil {
		return "" // a name that no label can have
	}
	return in.String()
}

// discover finds the Services that name the pod and that the user asked about. If the user named
// them, their label may do; else, and if one of them is not found so, all slices of the namespace
// are read.
func (w *Watcher) discover(ctx context.Context, who whoami) (services, error) {
	if by := selectorOf(w.know.only); by != "" {
		of, err := w.read(ctx, who, by)
		if err != nil || len(of.labelled) == len(w.know.only) {
			return of, err
		}
	}
	return w.read(ctx, who, "")
}

// read goes through the slices that a label selector lets through, consistently and page by page,
// and keeps the names of the Services alone.
func (w *Watcher) read(ctx context.Context, who whoami, selector string) (of services, err error) {
	again := func() { of = services{labelled: map[string]bool{}} }
	err = walk(slicePage, again, func(opts metav1.ListOptions) (string, error) {
		opts.LabelSelector = selector
		list, err := w.client.slices(ctx, opts)
		w.report(ctx, op{"list", sliceResource}, err)
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			s, ok := readSlice(&list.Items[i])
			if !ok || s.find(who) == nil || !w.know.wants(s.service) {
				continue
			}
			of.others = of.others || !s.labelled
			if s.labelled {
				of.labelled[s.service] = true
			}
		}
		return list.Continue, nil
	})
	if errors.Is(err, errTooMany) {
		w.report(ctx, op{"list", sliceResource}, err)
	}
	return of, err
}

// reflectSlices watches until ctx is done, the pod is found to be another, or the slices are too
// large to be kept. A watch may be mute,
// behind a proxy that holds it back, and looks like one in which nothing happens: where something
// should, the slices are listed anew.
func (w *Watcher) reflectSlices(ctx context.Context, selector string, moved <-chan struct{}) {
	var read map[string]*slice
	from := &source{
		resource: sliceResource,
		narrow:   func(o *metav1.ListOptions) { o.LabelSelector = selector },
		list: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return w.client.slices(ctx, o)
		},
		keep: func(page runtime.Object, first bool) error {
			if first {
				read = map[string]*slice{}
			}
			return w.know.take(page.(*discoveryv1.EndpointSliceList), read)
		},
		watch: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return w.client.watch(ctx, w.client.discovery, "endpointslices", o)
		},
		report:  w.report,
		refused: backoff{first: refusedFirst, most: refusedMost},
	}
	doubt := backoff{first: doubtFirst, most: doubtMost}
	for more := true; more; {
		more = w.mirrorSlices(ctx, from, func() map[string]*slice { return read }, func(ctx context.Context) bool {
			for sleep(ctx, jitter(doubt.next()), moved) {
				if v, _ := w.View(); v.awaitsSlices() {
					return true
				}
				doubt.reset()
			}
			return false
		})
	}
}

// awaitsSlices reports whether the pod's slices should change soon.
func (v View) awaitsSlices() bool {
	return v.Deleting && slices.ContainsFunc(v.Services, func(s Service) bool {
		return s.InRotation && !s.Unmanaged || s.Serving && s.Ready == 0 && s.Coming > 0
	})
}

// mirrorSlices lists and watches until the function returns, and returns what that does.
func (w *Watcher) mirrorSlices(ctx context.Context, from *source, read func() map[string]*slice, until func(context.Context) bool) bool {
	ctx, cancel := context.WithCancel(ctx)
	event := func(do func(*knowledge)) {
		w.learn(func(k *knowledge) {
			k.recordSuccess(op{"watch", sliceResource})
			do(k)
		})
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		mirror(ctx, from, &discoveryv1.EndpointSlice{}, store[*discoveryv1.EndpointSlice]{
			all: func([]*discoveryv1.EndpointSlice) {
				w.learn(func(k *knowledge) { k.sawSlices(read()) })
			},
			one: func(s *discoveryv1.EndpointSlice) {
				event(func(k *knowledge) {
					if !k.sawSlice(s) {
						cancel()
					}
				})
			},
			gone:  func(s *discoveryv1.EndpointSlice) { event(func(k *knowledge) { k.lostSlice(s.Name) }) },
			alive: func() { event(func(*knowledge) {}) },
		}, slicePage)
	})
	return until(ctx)
}
