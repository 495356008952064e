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
	triedMost = 5 * time.Second // for the pod, before its slices are read without

	retryFirst = 200 * time.Millisecond // the namespace's slices, after a failure
	retryMost  = 2 * time.Second

	recheckFirst = 2 * time.Second // the same, while none names the pod
	recheckMost  = 30 * time.Second

	// maxNames is how many Services a watch can be narrowed to: their names
	// are part of a URL.
	maxNames = 50
)

// followSlices finds the Services that name the pod, then watches their slices
// alone: a namespace can have thousands of others. A Service that comes to name
// the pod later is not noticed; a pod that is being stopped gets no new ones.
func (w *Watcher) followSlices(ctx context.Context, tried <-chan struct{}) {
	// The pod's addresses are worth a moment's wait, though its UID may do.
	sleep(ctx, triedMost, tried)
	retry, recheck := retryFirst, recheckFirst
	for ctx.Err() == nil {
		who, moved := w.whoami()
		if !who.known() {
			sleep(ctx, recheckMost, moved)
			continue
		}
		of, err := w.discover(ctx, who)
		switch {
		case err != nil:
			sleep(ctx, retry, moved)
			retry = min(2*retry, retryMost)
		case of.none():
			w.learn(func(k *knowledge) { k.sawSlices(nil) })
			sleep(ctx, recheck, moved)
			retry, recheck = retryFirst, min(2*recheck, recheckMost)
		default:
			w.reflectSlices(ctx, of.selector(), moved)
			retry, recheck = retryFirst, recheckFirst
		}
	}
}

// services are those that name the pod: by the label that a watch can be
// narrowed to, or else only found by looking at everything.
type services struct {
	labelled map[string]bool
	others   bool
}

func (s services) none() bool { return len(s.labelled) == 0 && !s.others }

// selector is the label selector of their slices, "" for all of the namespace.
func (s services) selector() string {
	if s.others || len(s.labelled) > maxNames {
		return ""
	}
	names := slices.Sorted(maps.Keys(s.labelled))
	in, err := labels.NewRequirement(discoveryv1.LabelServiceName, selection.In, names)
	if err != nil {
		return "" // a name that no label can have
	}
	return in.String()
}

// discover reads all slices of the namespace, consistently, and keeps the names
// of the Services that name the pod and that the user asked about.
func (w *Watcher) discover(ctx context.Context, who whoami) (of services, err error) {
	read := 0
	again := func() { of, read = services{labelled: map[string]bool{}}, 0 }
	err = walk(slicePage, again, func(opts metav1.ListOptions) (string, error) {
		list, err := w.client.slices(ctx, opts)
		w.report(ctx, op{"list", sliceResource}, err)
		if err != nil {
			return "", err
		}
		read += len(list.Items)
		for i := range list.Items {
			s, ok := readSlice(&list.Items[i])
			if !ok || !s.names(who) || !w.know.wants(s.service) {
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
	if err == nil {
		w.log.Debug("slices of the namespace read", "slices", read, "narrowed to", of.selector())
	}
	return of, err
}

// reflectSlices watches until ctx is done or the pod is found to be another.
func (w *Watcher) reflectSlices(ctx context.Context, selector string, moved <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from := &source{
		resource: sliceResource,
		narrow:   func(o *metav1.ListOptions) { o.LabelSelector = selector },
		list: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return w.client.slices(ctx, o)
		},
		watch: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return w.client.watch(ctx, w.client.discovery, "endpointslices", o)
		},
		report: w.report,
	}
	event := func(do func(*knowledge)) {
		w.learn(func(k *knowledge) {
			k.succeeded(op{"watch", sliceResource})
			do(k)
		})
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		mirror(ctx, from, &discoveryv1.EndpointSlice{}, store[*discoveryv1.EndpointSlice]{
			all: func(all []*discoveryv1.EndpointSlice) {
				w.learn(func(k *knowledge) { k.sawSlices(all) })
			},
			one:   func(s *discoveryv1.EndpointSlice) { event(func(k *knowledge) { k.sawSlice(s) }) },
			gone:  func(s *discoveryv1.EndpointSlice) { event(func(k *knowledge) { k.lostSlice(s.Name) }) },
			alive: func() { event(func(*knowledge) {}) },
		}, slicePage)
	})
	select {
	case <-moved:
		cancel()
	case <-ctx.Done():
	}
}
