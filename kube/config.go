package kube

import (
	"errors"
	"fmt"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// ErrNoCluster means that the process does not run in a Kubernetes cluster, as far as its
// environment says (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which
// the kubelet sets in every container). Test for it with errors.Is.
var ErrNoCluster = errors.New("not in a Kubernetes cluster")

// Config returns how to reach the API server, and the namespace of the
// kubeconfig's current context ("default" if it names none, as for kubectl). An
// empty kubeconfig means the pod's own service account, and no namespace; the variable KUBECONFIG is not consulted, since
// in a hook it would be the app's.
//
// The error is ErrNoCluster outside of a cluster; anything else means that
// there is one but the token, or the kubeconfig, cannot be used.
func Config(kubeconfig string) (*rest.Config, string, error) {
	silenceClientGo()
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		switch {
		case errors.Is(err, rest.ErrNotInCluster):
			return nil, "", ErrNoCluster
		case err != nil:
			return nil, "", fmt.Errorf("no service account token (automountServiceAccountToken: false?): %w", err)
		}
		return cfg, "", nil
	}
	cfg, namespace, err := readKubeconfig(kubeconfig)
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %s", kubeconfig, oneLine(err.Error()))
	}
	return cfg, namespace, nil
}

// silenceClientGo discards what client-go would write to stderr through klog
// (whose zero Logger writes nothing): every failure is in a View, and the story
// is told elsewhere.
var silenceClientGo = sync.OnceFunc(func() { klog.SetLogger(klog.Logger{}) })
