package kube

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// searchEvery is how often the namespace is searched for a pod that was not found there.
const searchEvery = 30 * time.Second

// podSearch looks for the pod by its UID, where its host name is not its name, or is by now another
// pod's. It needs the right to list pods. Without that, the name may still come from an
// EndpointSlice that names the pod (see knowledge.podName), else from POD_NAME.
type podSearch struct {
	last time.Time // when nobody was found, or the right was refused
}

// run searches through all pods, page by page. If no pod has the UID, it may be another namespace's
// or cluster's.
func (s *podSearch) run(ctx context.Context, w *Watcher) error {
	if !s.last.IsZero() && time.Since(s.last) < searchEvery {
		return nil
	}
	found := false
	err := walk(podPage, func() {}, func(opts metav1.ListOptions) (string, error) {
		list, err := w.client.pods(ctx, opts)
		if err != nil {
			return "", err
		}
		w.learn(func(k *knowledge) {
			k.recordSuccess(op{"list", podResource})
			for i := range list.Items {
				if pod := &list.Items[i]; k.isPod(pod) && k.sawPod(pod) {
					found = true
				}
			}
		})
		if found {
			return "", nil
		}
		return list.Continue, nil
	})
	switch {
	case apierrors.IsForbidden(err):
		s.last = time.Now()
		w.learn(func(k *knowledge) { k.unknownPod(false) })
	case err != nil && !errors.Is(err, context.Canceled):
		w.report(ctx, op{"list", podResource}, err)
	case err == nil && !found:
		s.last = time.Now()
		w.learn(func(k *knowledge) { k.unknownPod(true) })
	}
	return err
}
