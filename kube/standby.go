package kube

import (
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// stillStarting is how long a pod that is not ready counts as on its way to be: a Deployment
	// that makes no progress for this long has failed (the default of progressDeadlineSeconds).
	stillStarting = 10 * time.Minute
	// crashes is how often a container has failed when it is not expected to stay up the next time.
	// The kubelet then waits 40 s or more between two attempts, longer than most grace periods
	// (pkg/kubelet/kubelet.go, initialCrashLoopBackOff: 10 s, doubled each time).
	crashes = 3
	// assessMost is how many pods are read, assessAgain how long what was found is good for.
	assessMost  = 10
	assessAgain = 10 * time.Second
)

// assessment is what has been found out of a pod that is not ready.
type assessment struct {
	prospect prospect
	at       time.Time
}

// prospect is what to expect of a pod that is not ready.
type prospect int

const (
	starting prospect = iota // it is on its way, as far as is known
	failing                  // it ends itself, or fails again and again
	steady                   // it runs, unready, for long: as a replica does that waits to be the leader
)

// podRef names a pod that an endpoint stands for.
type podRef struct{ name, uid string }

// followOthers reads the pods of other endpoints, as long as none is ready and some may be on their
// way: whether they are decides whether it is worth waiting for them. Where they cannot be read,
// all count as on their way.
func (w *Watcher) followOthers(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		refs, deleted, changed := w.know.toAssess(time.Now()), w.know.pod.deleted, w.changed
		w.mu.Unlock()
		for _, ref := range refs {
			pod, err := w.client.pod(ctx, ref.name)
			if ctx.Err() != nil {
				return
			}
			w.learn(func(k *knowledge) {
				how := starting
				switch {
				case err == nil && string(pod.UID) == ref.uid:
					how = prospectOf(pod, deleted)
				case isMissing(err):
					how = failing
				}
				if err == nil || how == failing {
					k.recordAnswer()
				}
				k.assess(ref.uid, how)
			})
		}
		sleep(ctx, assessAgain, changed)
	}
}

// toAssess returns pods that count as on their way, and have not been looked at lately, while this
// pod is being deleted and nobody else is ready. All in all no more than assessMost are looked at.
func (k *knowledge) toAssess(now time.Time) (refs []podRef) {
	if !k.podKnown || !k.pod.deleting {
		return nil
	}
	who, listed, found := k.whoami(), map[string]bool{}, map[string]bool{}
	for _, s := range k.slices {
		for i := range s.endpoints {
			e := &s.endpoints[i]
			listed[e.uid] = true
			if !found[e.uid] && k.awaits[s.service] && e.condition() == isComing && e.uid != "" && e.pod != "" && !who.is(e) {
				found[e.uid] = true
				refs = append(refs, podRef{e.pod, e.uid})
			}
		}
	}
	maps.DeleteFunc(k.assessed, func(uid string, _ assessment) bool { return !listed[uid] })
	looked := len(k.assessed)
	return slices.DeleteFunc(refs, func(r podRef) bool {
		last, known := k.assessed[r.uid]
		if known {
			return last.prospect != starting || now.Sub(last.at) < assessAgain
		}
		looked++
		return looked > assessMost
	})
}

// prospectOf tells what to expect of a pod that is not ready. One that has been unready since long
// before deleted is not about to become ready, and so is none that ends itself or fails again and
// again. A replica that waits to be the leader is of the first kind: it becomes ready when the
// leader has gone.
//
// Only the API's own timestamps are compared, never with this machine's clock.
func prospectOf(pod *corev1.Pod, deleted time.Time) prospect {
	if pod.DeletionTimestamp != nil || ended(&pod.Status) != "" {
		return failing
	}
	for _, of := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range of {
			if crashLoops(&of[i], deleted) {
				return failing
			}
		}
	}
	since := pod.CreationTimestamp.Time
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.LastTransitionTime.After(since) {
			since = c.LastTransitionTime.Time
		}
	}
	switch {
	case since.IsZero() || deleted.Sub(since) <= stillStarting:
		return starting
	case pod.Status.Phase == corev1.PodRunning:
		return steady
	}
	return failing // it has not even started
}

func crashLoops(c *corev1.ContainerStatus, deleted time.Time) bool {
	if c.Ready || c.RestartCount < crashes {
		return false
	}
	if w := c.State.Waiting; w != nil && w.Reason == "CrashLoopBackOff" {
		return true
	}
	last := c.LastTerminationState.Terminated
	return last != nil && deleted.Sub(last.FinishedAt.Time) < stillStarting
}
