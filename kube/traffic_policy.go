package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
)

// followPolicies reads each Service that names the pod, once, for its traffic policies: slices do
// not tell them. The right to get services is optional, so that a refusal is not told as a failure.
func (w *Watcher) followPolicies(ctx context.Context) {
	refused := backoff{first: 2 * refusedFirst, most: refusedMost} // it is optional
	for ctx.Err() == nil {
		w.mu.Lock()
		names, sooner := w.know.unreadPolicies(), w.changed
		w.mu.Unlock()
		pause := pollSeldom
		for _, name := range names {
			service, err := w.client.service(ctx, name)
			if err == nil || isMissing(err) {
				w.learn(func(k *knowledge) {
					k.recordAnswer()
					k.policies[name] = err == nil && isLocal(&service.Spec)
				})
				continue
			}
			sooner = nil // it is not asked for again at once
			if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
				pause = refused.next()
				break // the others are refused, too
			}
		}
		sleep(ctx, jitter(pause), sooner)
	}
}

// unreadPolicies returns the Services that name the pod and have not been read. What cannot be a
// Service's name, as of slices made by hand, is none and has no policies.
func (k *knowledge) unreadPolicies() (names []string) {
	for name := range k.named {
		if _, known := k.policies[name]; known {
			continue
		}
		if validation.IsDNS1123Label(name) != nil {
			k.policies[name] = false
			continue
		}
		names = append(names, name)
	}
	return names
}

// isLocal reports whether traffic from within the cluster goes only to endpoints on the node where
// it begins (pkg/proxy/serviceport.go, InternalPolicyLocal). A headless Service has no such
// traffic. With externalTrafficPolicy alone traffic has somewhere else to go: its load balancer
// finds out by the node's health check that no endpoint there is ready (pkg/proxy/healthcheck), and
// until then the pod is sent to, so that waiting is the point.
func isLocal(spec *corev1.ServiceSpec) bool {
	internal := spec.InternalTrafficPolicy
	return spec.ClusterIP != corev1.ClusterIPNone && internal != nil && *internal == corev1.ServiceInternalTrafficPolicyLocal
}
