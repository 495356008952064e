package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
)

// maxFound is how many pods somebody may ask about at once.
const maxFound = 200

// Inquirer asks the API server about a namespace, once each, for whoever checks pods beforehand.
type Inquirer struct{ client *client }

// NewInquirer prepares to ask. Its errors are those of NewWatcher.
func NewInquirer(cfg *rest.Config, namespace string, log *slog.Logger) (*Inquirer, error) {
	if problems := validation.IsDNS1123Label(namespace); problems != nil {
		return nil, fmt.Errorf("namespace %q: %s", short(namespace), problems[0])
	}
	c, err := newClient(cfg, namespace, log, func() {})
	if err != nil {
		return nil, err
	}
	return &Inquirer{c}, nil
}

// Close ends the connections.
func (i *Inquirer) Close() { i.client.close() }

// workloads are the kinds whose selector names pods, by all of kubectl's words for them.
var workloads = []struct{ path, resource, words string }{
	{"/apis/apps/v1", "deployments", "deploy deployment deployments deployment.apps deployments.apps"},
	{"/apis/apps/v1", "statefulsets", "sts statefulset statefulsets statefulset.apps statefulsets.apps"},
	{"/apis/apps/v1", "daemonsets", "ds daemonset daemonsets daemonset.apps daemonsets.apps"},
	{"/apis/apps/v1", "replicasets", "rs replicaset replicasets replicaset.apps replicasets.apps"},
	{"/api/v1", "services", "svc service services"},
}

// Find returns the names of the pods that are meant by kubectl's way to name things: pod/web-0, a
// workload or a Service like deploy/web. A pod's name alone is a pod.
func (i *Inquirer) Find(ctx context.Context, what string) ([]string, error) {
	kind, name, ok := strings.Cut(what, "/")
	if !ok {
		kind, name = "pod", what
	}
	if problems := validation.IsDNS1123Subdomain(name); problems != nil {
		return nil, fmt.Errorf("%q: %s", short(what), problems[0])
	}
	if slices.Contains([]string{"po", "pod", "pods"}, kind) {
		return []string{name}, nil
	}
	for _, w := range workloads {
		if slices.Contains(strings.Fields(w.words), kind) {
			selector, err := i.selector(ctx, w.path, w.resource, name)
			if err != nil {
				return nil, err
			}
			return i.Select(ctx, selector)
		}
	}
	return nil, fmt.Errorf("%q: neither a pod nor one of deploy, sts, ds, rs, svc", short(what))
}

// selector reads the pods' labels from a workload. It is read as JSON, and of it only that: the
// types of apps/v1 would be a twentieth of the binary.
func (i *Inquirer) selector(ctx context.Context, path, resource, name string) (string, error) {
	text, err := i.raw(ctx, i.client.core.Get(), path+"/namespaces/"+i.client.namespace+"/"+resource+"/"+name, nil)
	if err != nil {
		return "", explain(op{"get", resource}, i.client.namespace, err).err
	}
	var object struct {
		Spec struct{ Selector json.RawMessage }
	}
	if err := json.Unmarshal(text, &object); err != nil {
		return "", fmt.Errorf("%s/%s: %s", resource, name, oneLine(err.Error()))
	}
	if resource == "services" {
		var set labels.Set
		if err := json.Unmarshal(object.Spec.Selector, &set); err != nil || len(set) == 0 {
			return "", fmt.Errorf("%s/%s has no selector: name its pods", resource, name)
		}
		return set.String(), nil
	}
	var of metav1.LabelSelector
	if err := json.Unmarshal(object.Spec.Selector, &of); err != nil {
		return "", fmt.Errorf("%s/%s: selector: %s", resource, name, oneLine(err.Error()))
	}
	selector, err := metav1.LabelSelectorAsSelector(&of)
	if err != nil || selector.Empty() {
		return "", fmt.Errorf("%s/%s has no selector that names pods", resource, name)
	}
	return selector.String(), nil
}

// raw makes a request with JSON both ways.
func (i *Inquirer) raw(ctx context.Context, r *rest.Request, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	r = r.MaxRetries(0).AbsPath(path).SetHeader("Accept", "application/json")
	if body != nil {
		r = r.SetHeader("Content-Type", "application/json").Body(body)
	}
	answer := r.Do(ctx)
	if err := answer.Error(); err != nil { // unlike Raw's it has the API server's own words
		return nil, err
	}
	return answer.Raw()
}

// Select returns the names of the pods with these labels that have not ended.
func (i *Inquirer) Select(ctx context.Context, selector string) ([]string, error) {
	if _, err := labels.Parse(selector); err != nil {
		return nil, fmt.Errorf("label selector %q: %s", short(selector), oneLine(err.Error()))
	}
	var names []string
	err := walk(podPage, func() { names = nil }, func(opts metav1.ListOptions) (string, error) {
		opts.LabelSelector = selector
		list, err := i.client.pods(ctx, opts)
		if err != nil {
			return "", err
		}
		for _, p := range list.Items {
			if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				names = append(names, p.Name)
			}
		}
		if len(names) > maxFound {
			return "", errTooMany
		}
		return list.Continue, nil
	})
	switch {
	case errors.Is(err, errTooMany):
		return nil, fmt.Errorf("more than %d pods have the labels %s: narrow the selector", maxFound, selector)
	case err != nil:
		return nil, explain(op{"list", podResource}, i.client.namespace, err).err
	case len(names) == 0:
		return nil, fmt.Errorf("no pod in namespace %s has the labels %s", i.client.namespace, selector)
	}
	return names, nil
}

// PublishesNotReady reports whether the Service publishes addresses that are not ready. No
// EndpointSlice shows that before the pod's end.
func (i *Inquirer) PublishesNotReady(ctx context.Context, service string) (bool, error) {
	s, err := i.client.service(ctx, service)
	if err != nil {
		return false, explain(op{"get", "services"}, i.client.namespace, err).err
	}
	return s.Spec.PublishNotReadyAddresses, nil
}
