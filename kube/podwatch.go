package kube

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// How often the pod is asked for, although it is watched.
const (
	beatEvery   = 3 * time.Second
	beatAgain   = time.Second            // after a failure
	beatSoon    = 400 * time.Millisecond // the first few times if it isn't being deleted: that may change
	beatsSoon   = 5
	searchEvery = 30 * time.Second
)

// followPod finds the pod, then watches it, and asks for it every few seconds
// besides: an API server that has stopped keeps a watch open in silence, and
// only an answer proves that there is still one to be had. It closes tried after
// the first attempt.
func (w *Watcher) followPod(ctx context.Context, tried chan<- struct{}) {
	var watching sync.WaitGroup
	defer watching.Wait()
	var searched time.Time // when nobody was found
	for first, soon := true, beatsSoon; ctx.Err() == nil; {
		found, search, err := w.beat(ctx)
		if search && time.Since(searched) >= searchEvery {
			if found, err = w.search(ctx); err == nil && found == "" {
				searched = time.Now()
			}
		}
		if answered(err) {
			w.beatSlices(ctx) // that pods can't be read does not mean that slices can't
		}
		if tried != nil {
			close(tried)
			tried = nil
		}
		pause := beatEvery
		if found != "" && first {
			first = false
			watching.Go(func() { w.reflectPod(ctx, found) })
		}
		if v, _ := w.View(); soon > 0 && found != "" && !v.Deleting {
			soon--
			pause = beatSoon
		}
		if err != nil {
			pause = beatAgain
		}
		sleep(ctx, pause, nil)
	}
}

// answered: the server refused, so there is one.
func answered(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// beat asks for the pod once, and returns its name if it was there; else
// whether it may be found by its UID.
func (w *Watcher) beat(ctx context.Context) (found string, search bool, err error) {
	w.mu.Lock()
	name, known, hasUID := w.know.id.Name, w.know.podKnown, w.know.id.UID != ""
	if w.know.pod.name != "" {
		name = w.know.pod.name
	}
	w.mu.Unlock()

	if name != "" {
		pod, err := w.client.pod(ctx, name)
		missing := isMissing(err)
		if err != nil && !missing {
			w.report(ctx, op{"get", podResource}, err)
			return "", false, err
		}
		ours := false
		w.learn(func(k *knowledge) {
			k.succeeded(op{"get", podResource})
			ours = !missing && k.sawPod(pod)
			switch {
			case !ours && known:
				k.lostPod()
			case !ours && !hasUID:
				k.unknownPod()
			}
		})
		if ours {
			return name, false, nil
		}
	}
	return "", hasUID && !known, nil
}

// isMissing tells the API server's 404 for the pod from any other: it names what
// is missing (k8s.io/apimachinery, pkg/api/errors, NewNotFound). For a path that
// the server does not know, and for a proxy's page, client-go makes up such a
// Status, and says so by its cause.
func isMissing(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err) &&
		status.Status().Details != nil && status.Status().Details.Name != ""
}

// beatSlices is the beat of a Watcher that can't read pods.
func (w *Watcher) beatSlices(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	_, err := w.client.slices(short, metav1.ListOptions{Limit: 1})
	w.report(ctx, op{"list", sliceResource}, err)
}

// search looks through the namespace for the pod's UID: its host name is not
// its name, or is by now another pod's. If no pod has it, it may be another
// namespace's or cluster's.
func (w *Watcher) search(ctx context.Context) (found string, err error) {
	err = walk(podPage, func() {}, func(opts metav1.ListOptions) (string, error) {
		list, err := w.client.pods(ctx, opts)
		w.report(ctx, op{"list", podResource}, err)
		if err != nil {
			return "", err
		}
		w.learn(func(k *knowledge) {
			for i := range list.Items {
				if pod := &list.Items[i]; k.isPod(pod) && k.sawPod(pod) {
					found = pod.Name
				}
			}
		})
		if found != "" {
			return "", nil
		}
		return list.Continue, nil
	})
	switch {
	case errors.Is(err, errTooMany):
		w.report(ctx, op{"list", podResource}, err)
	case err == nil && found == "":
		w.learn((*knowledge).unknownPod)
	}
	return found, err
}

func (w *Watcher) reflectPod(ctx context.Context, name string) {
	only := fields.OneTermEqualSelector("metadata.name", name).String()
	from := &source{
		resource: podResource,
		narrow:   func(o *metav1.ListOptions) { o.FieldSelector = only },
		list: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return w.client.pods(ctx, o)
		},
		watch: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return w.client.watch(ctx, w.client.core, "pods", o)
		},
		report: w.report,
	}
	event := func(do func(*knowledge)) {
		w.learn(func(k *knowledge) {
			k.succeeded(op{"watch", podResource})
			do(k)
		})
	}
	mirror(ctx, from, &corev1.Pod{}, store[*corev1.Pod]{
		all: func(pods []*corev1.Pod) {
			w.learn(func(k *knowledge) {
				if !slices.ContainsFunc(pods, k.sawPod) {
					k.lostPod()
				}
			})
		},
		one: func(pod *corev1.Pod) { event(func(k *knowledge) { k.sawPod(pod) }) },
		gone: func(pod *corev1.Pod) {
			event(func(k *knowledge) {
				if string(pod.UID) == k.pod.uid {
					k.lostPod()
				}
			})
		},
		alive: func() { event(func(*knowledge) {}) },
	}, podPage)
}
