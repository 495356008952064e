package kube

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
)

// ErrNoCluster means that the process does not run in a Kubernetes cluster, as far as its
// environment says (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which the kubelet sets in
// every container), and that no kubeconfig names one. Test for it with errors.Is.
var ErrNoCluster = errors.New("not in a Kubernetes cluster")

// Access says how to reach the API server. The zero value is the pod's own service account: in a
// hook the variable KUBECONFIG would be the app's, so it is not consulted.
type Access struct {
	// Kubeconfig is a kubeconfig file. It wins over everything else.
	Kubeconfig string
	// Context is the context to use of a kubeconfig, "" for its current one. Without Kubeconfig it
	// means kubectl's files, in a cluster too.
	Context string
	// LikeKubectl reads kubectl's files (those of KUBECONFIG, merged, else ~/.kube/config) when the
	// process does not run in a cluster.
	LikeKubectl bool
}

// Config returns how to reach the API server, and the namespace of the kubeconfig's context
// ("default" if that names none, as for kubectl) or "" for the pod's own service account.
//
// The error is ErrNoCluster where there is none. Any other error means that there is one, but that
// the token or the kubeconfig cannot be used.
func Config(to Access) (*rest.Config, string, error) {
	silenceClientGo()
	if to.Kubeconfig != "" {
		return fromKubeconfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: to.Kubeconfig}, to.Context)
	}
	if to.Context == "" {
		cfg, err := rest.InClusterConfig()
		switch {
		case err == nil:
			return direct(cfg), "", nil
		case !errors.Is(err, rest.ErrNotInCluster):
			return nil, "", fmt.Errorf("no service account token (automountServiceAccountToken: false?): %w", err)
		case !to.LikeKubectl:
			return nil, "", ErrNoCluster
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.MigrationRules = nil // these would write to the home directory
	return fromKubeconfig(rules, to.Context)
}

// direct keeps the proxy of HTTPS_PROXY out: in a pod that variable is the app's, for its calls to
// the world outside. A kubeconfig's user on a laptop may need it.
func direct(cfg *rest.Config) *rest.Config {
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	return cfg
}

// fromKubeconfig reads the files of rules. clientcmd's deferred loading is avoided: where a
// kubeconfig is empty it would fall back to the pod's own service account.
func fromKubeconfig(rules *clientcmd.ClientConfigLoadingRules, context string) (cfg *rest.Config, namespace string, err error) {
	var files *api.Config
	if err = canBeRead(rules.GetLoadingPrecedence()); err == nil {
		files, err = rules.Load()
	}
	if err == nil {
		overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
		loaded := clientcmd.NewNonInteractiveClientConfig(*files, context, overrides, rules)
		if cfg, err = loaded.ClientConfig(); err == nil {
			namespace, _, err = loaded.Namespace()
		}
	}
	if clientcmd.IsEmptyConfig(err) {
		if rules.ExplicitPath == "" {
			return nil, "", ErrNoCluster
		}
		err = errors.New("it names no cluster to talk to")
	}
	if err != nil {
		from := rules.ExplicitPath
		if from == "" {
			from = strings.Join(rules.Precedence, string(filepath.ListSeparator))
		}
		return nil, "", fmt.Errorf("kubeconfig %s: %s", oneLine(from), oneLine(err.Error()))
	}
	return cfg, namespace, nil
}

// maxKubeconfig is how large a kubeconfig may be. One for hundreds of clusters has less.
const maxKubeconfig = 4 << 20

// canBeRead refuses what clientcmd would read for ever or into more memory than there is: it takes
// whatever opens, and a FIFO opens only when somebody writes to it. Of files that are missing
// clientcmd tells.
func canBeRead(files []string) error {
	for _, name := range files {
		info, err := os.Stat(name)
		switch {
		case err != nil, name == os.DevNull: // kubectl's way to have none
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is no regular file", name)
		case info.Size() > maxKubeconfig:
			return fmt.Errorf("%s is larger than %d MiB", name, maxKubeconfig>>20)
		}
	}
	return nil
}

// silenceClientGo discards what client-go would write to stderr through klog (whose zero Logger
// writes nothing): every failure is in a View, and the story is told elsewhere.
var silenceClientGo = sync.OnceFunc(func() { klog.SetLogger(klog.Logger{}) })
