package kube

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How often the pod is read. It is not watched: a watch of one pod needs the right to watch all of
// the namespace, and reading it is also the proof that the API server still answers.
const (
	pollOften  = time.Second            // while it is not known to be deleted and out of rotation
	pollSeldom = 3 * time.Second        // from then on only its grace period can change
	pollSoon   = 400 * time.Millisecond // the first few times if it is not being deleted: that may change
	pollsSoon  = 5

	// A refusal does not go away by waiting, but a Role may be granted yet.
	refusedFirst = 2500 * time.Millisecond
	refusedMost  = 10 * time.Second
)

// followPod reads the pod again and again. It closes tried after the first attempt.
func (w *Watcher) followPod(ctx context.Context, tried chan<- struct{}) {
	var search podSearch
	refused := backoff{first: refusedFirst, most: refusedMost}
	for soon := pollsSoon; ctx.Err() == nil; {
		_, renamed := w.podName()
		found, err := w.pollPod(ctx)
		if err == nil && !found {
			err = search.run(ctx, w)
		}
		if answered(err) {
			w.pollSlices(ctx) // that pods cannot be read does not mean that slices cannot
		}
		if tried != nil {
			close(tried)
			tried = nil
		}
		v, _ := w.View()
		pause := pollPause(v)
		switch {
		case w.refuses(op{"get", podResource}):
			w.idle(ctx, refused.next(), renamed)
			continue
		case err != nil:
			pause = pollOften
		case soon > 0 && v.PodKnown && !v.Deleting:
			soon--
			pause = pollSoon
		}
		refused.reset()
		sleep(ctx, jitter(pause), renamed)
	}
}

// idle waits until the pod is asked for again although that was refused. All the while the slices
// show whether the API server still answers.
func (w *Watcher) idle(ctx context.Context, pause time.Duration, sooner <-chan struct{}) {
	for end := time.Now().Add(jitter(pause)); ; {
		left := time.Until(end)
		if !sleep(ctx, min(left, jitter(pollSeldom)), sooner) || time.Until(end) <= 0 {
			return
		}
		w.pollSlices(ctx)
	}
}

// pollPause is how long the pod's state may go unread.
func pollPause(v View) time.Duration {
	listed := slices.ContainsFunc(v.Services, func(s Service) bool { return s.InRotation })
	if v.Deleting && v.SlicesKnown && !listed {
		return pollSeldom
	}
	return pollOften
}

// answered reports whether err is the server's own word, so that there is a server.
func answered(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// pollPod reads the pod once. It reports false if the pod has to be searched for: nobody has read
// it yet, and what we take for its name is not it.
func (w *Watcher) pollPod(ctx context.Context) (found bool, err error) {
	name, _ := w.podName()
	if name == "" {
		return false, nil
	}
	pod, err := w.client.pod(ctx, name)
	missing := isMissing(err)
	if err != nil && !missing {
		w.report(ctx, op{"get", podResource}, err)
		return false, err
	}
	w.learn(func(k *knowledge) {
		k.recordSuccess(op{"get", podResource})
		known, ours := k.podKnown, !missing && k.sawPod(pod)
		switch {
		case !ours && known:
			k.lostPod()
		case !ours && k.id.UID == "":
			k.unknownPod(true)
		}
		if !ours {
			k.notFound, k.namesake = name, !missing
		}
		found = ours || known || k.id.UID == ""
	})
	return found, nil
}

// isMissing tells the API server's 404 for the pod from any other: it names what is missing
// (k8s.io/apimachinery, pkg/api/errors, NewNotFound). For a path that the server does not know, and
// for a proxy's page, client-go makes up such a Status, and says so by its cause.
func isMissing(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err) &&
		status.Status().Details != nil && status.Status().Details.Name != ""
}

// pollSlices stands in for pollPod where pods cannot be read: it shows whether slices can.
func (w *Watcher) pollSlices(ctx context.Context) {
	w.client.hold.wait(ctx) // not in the time for an answer
	short, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	_, err := w.client.slices(short, metav1.ListOptions{Limit: 1})
	w.report(ctx, op{"list", sliceResource}, err)
}
