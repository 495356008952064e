package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Event is something that happened to the pod, for `kubectl describe pod` and `kubectl events`.
type Event struct {
	Reason  string // one word in CamelCase
	Message string
	Warning bool // something that somebody should look at
}

// component is who an Event says that it comes from.
const component = "lull"

// How long an Event's text may be: the API server refuses more than 1024 bytes in events.k8s.io
// (k8s.io/kubernetes, pkg/apis/core/validation/events.go), which shows the same objects.
const maxMessage = 1000

// Record creates an Event about the pod. It tries once. What comes of it is no part of the View:
// the right to create events is apart from all else, and nothing depends on it.
//
// The object is one of core/v1, as the kubelet's own. One of events.k8s.io/v1 would have no
// lastTimestamp, by which people sort (`kubectl get events --sort-by=.lastTimestamp`).
func (w *Watcher) Record(ctx context.Context, e Event) error {
	w.mu.Lock()
	name, uid := w.know.podName(), w.know.whoami().uid
	w.mu.Unlock()
	if name == "" || uid == "" {
		// `kubectl describe pod` finds them by the UID.
		return errors.New("no event about the pod: its name and UID are not both known")
	}
	err := w.client.createEvent(ctx, newEvent(e, w.client.namespace, name, uid, time.Now()))
	if err != nil {
		return explain(op{"create", "events"}, w.client.namespace, err).err
	}
	return nil
}

func newEvent(e Event, namespace, pod, uid string, now time.Time) *corev1.Event {
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	at := metav1.NewTime(now)
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: eventName(pod, now)},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: pod, UID: types.UID(uid)},
		Reason:         e.Reason, Message: cut(e.Message, maxMessage), Type: kind,
		Source:              corev1.EventSource{Component: component},
		ReportingController: component, ReportingInstance: cut(pod, 128),
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
	}
}

// eventName is the name that client-go gives (tools/record/util, GenerateEventName), within what a
// name may have.
func eventName(pod string, now time.Time) string {
	suffix := fmt.Sprintf(".%x", now.UnixNano())
	pod = cut(pod, validation.DNS1123SubdomainMaxLength-len(suffix))
	return strings.TrimRight(pod, ".-") + suffix
}

// cut is the text's beginning.
func cut(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// createEvent creates an object of the pod's namespace.
func (c *client) createEvent(ctx context.Context, e *corev1.Event) error {
	return c.core.Post().MaxRetries(0).Namespace(c.namespace).Resource("events").Body(e).Do(ctx).Error()
}
