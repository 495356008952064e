package kube

import (
	"cmp"
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
		cfg, err := inCluster()
		switch {
		case err == nil:
			return direct(cfg), "", nil
		case errors.Is(err, errUnusable):
			return nil, "", err
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

// The files of the service account, where rest.InClusterConfig reads them.
const (
	mountedToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	mountedCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

var errUnusable = errors.New("the service account's credentials cannot be used")

func inCluster() (*rest.Config, error) {
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		if err := canBeRead(mountedToken, mountedCA); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnusable, err)
		}
	}
	return rest.InClusterConfig()
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
	if err = canBeRead(rules.GetLoadingPrecedence()...); err == nil {
		files, err = rules.Load()
	}
	if err == nil {
		err = canBeRead(namedBy(files, context)...)
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

// namedBy returns the files that a kubeconfig's context names: with these, too, clientcmd takes
// whatever opens.
func namedBy(config *api.Config, context string) (files []string) {
	current := config.Contexts[cmp.Or(context, config.CurrentContext)]
	if current == nil {
		return nil
	}
	if c := config.Clusters[current.Cluster]; c != nil {
		files = append(files, c.CertificateAuthority)
	}
	if u := config.AuthInfos[current.AuthInfo]; u != nil {
		files = append(files, u.TokenFile, u.ClientCertificate, u.ClientKey)
	}
	return files
}

// silenceClientGo discards what client-go would write to stderr through klog (whose zero Logger
// writes nothing): every failure is in a View, and the story is told elsewhere.
var silenceClientGo = sync.OnceFunc(func() { klog.SetLogger(klog.Logger{}) })
