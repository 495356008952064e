package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// How long a request may take. A hook lives for some 20 s, so nothing may hang for longer than a
// fraction of that.
const (
	getTimeout  = 3 * time.Second  // one object
	pageTimeout = 10 * time.Second // a page of a list from a slow server
)

const (
	podPage    = 50  // objects of a page
	slicePage  = 50  // likewise
	maxPages   = 400 // of a list
	maxRestart = 3   // how often a list begins anew whose pages have expired
)

// maxSlices is how much memory the slices may take that are kept: those of 10,000 endpoints.
const maxSlices = 4 << 20

// client makes the few requests that the package needs. Each is tried once: who asks knows best
// when to ask again.
type client struct {
	namespace string
	core      *rest.RESTClient
	discovery *rest.RESTClient
	hold      *hold
	fit       atomic.Int64 // how many objects fit into an answer, 0 as long as all did
	close     func()       // ends all requests and connections, for good
}

// newClient joins the configuration with a transport of its own: client-go's would notice a dead
// connection after 45 s, and keep it for the process.
func newClient(cfg *rest.Config, namespace string, log *slog.Logger, asks func()) (*client, error) {
	silenceClientGo()
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "lull"
	cfg.QPS = -1 // a handful of requests: no limit, no delay
	cfg.RateLimiter = nil
	cfg.Timeout = 0
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON

	if err := canBeRead(cfg.BearerTokenFile, cfg.CAFile, cfg.CertFile, cfg.KeyFile); err != nil {
		return nil, fmt.Errorf("api server's credentials: %w", err)
	}
	life, end := context.WithCancel(context.Background())
	c := &client{namespace: namespace, hold: &hold{}, close: end}
	transport, err := newTransport(life, cfg)
	if err != nil {
		return nil, fmt.Errorf("api server's configuration: %s", oneLine(err.Error()))
	}
	wrapped, err := rest.HTTPWrappersForConfig(cfg, takeTokenFile(cfg, observed{bounded{transport}, log, asks, c.hold}))
	if err != nil {
		return nil, fmt.Errorf("api server's credentials: %s", oneLine(err.Error()))
	}
	web := &http.Client{
		Transport: wrapped,
		// The transport would send the token along, wherever that leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.core, err = newREST(cfg, web, "/api", corev1.SchemeGroupVersion, &corev1.Pod{}, &corev1.PodList{}, &corev1.Service{}, &corev1.Event{}); err != nil {
		return nil, err
	}
	c.discovery, err = newREST(cfg, web, "/apis", discoveryv1.SchemeGroupVersion,
		&discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// newREST knows a few types alone: the rest of Kubernetes' would triple the binary.
func newREST(cfg *rest.Config, web *http.Client, path string, gv schema.GroupVersion, types ...runtime.Object) (*rest.RESTClient, error) {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(gv, types...)
	metav1.AddToGroupVersion(scheme, gv)
	cfg = rest.CopyConfig(cfg)
	cfg.APIPath = path
	cfg.GroupVersion = &gv
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c, err := rest.RESTClientForConfigAndClient(cfg, web)
	if err != nil {
		return nil, fmt.Errorf("api server's address: %s", oneLine(err.Error()))
	}
	return c, nil
}

// pod reads one pod, consistently.
func (c *client) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	return pod, c.get(ctx, "pods", name, pod)
}

// service reads one Service, consistently.
func (c *client) service(ctx context.Context, name string) (*corev1.Service, error) {
	service := &corev1.Service{}
	return service, c.get(ctx, "services", name, service)
}

func (c *client) get(ctx context.Context, resource, name string, into runtime.Object) error {
	c.hold.wait(ctx)
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	return c.core.Get().MaxRetries(0).Namespace(c.namespace).Resource(resource).Name(name).Do(ctx).Into(into)
}

// pods lists one page of pods, slices one of EndpointSlices.
func (c *client) pods(ctx context.Context, opts metav1.ListOptions) (*corev1.PodList, error) {
	list := &corev1.PodList{}
	return list, c.list(ctx, c.core, "pods", opts, list)
}

func (c *client) slices(ctx context.Context, opts metav1.ListOptions) (*discoveryv1.EndpointSliceList, error) {
	list := &discoveryv1.EndpointSliceList{}
	return list, c.list(ctx, c.discovery, "endpointslices", opts, list)
}

// list is consistent whatever opts say: without a resource version the API server answers from
// etcd, or from a cache that it has made sure is as new. With "0", or with any version, it may
// answer from a cache that is behind. A page that is too large is asked for again with fewer
// objects, and so are all later ones.
func (c *client) list(ctx context.Context, in *rest.RESTClient, resource string, opts metav1.ListOptions, into runtime.Object) error {
	opts.ResourceVersion, opts.ResourceVersionMatch = "", ""
	for {
		if fit := c.fit.Load(); fit > 0 && opts.Limit > fit {
			opts.Limit = fit
		}
		err := c.page(ctx, in, resource, opts, into)
		var large *http.MaxBytesError
		if opts.Limit <= 1 || !errors.As(err, &large) {
			return err
		}
		c.fit.Store(max(1, opts.Limit/8))
	}
}

func (c *client) page(ctx context.Context, in *rest.RESTClient, resource string, opts metav1.ListOptions, into runtime.Object) error {
	c.hold.wait(ctx)
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	return in.Get().MaxRetries(0).Namespace(c.namespace).Resource(resource).
		VersionedParams(&opts, metav1.ParameterCodec).Do(ctx).Into(into)
}

// watch opens a watch; events follow until the server or ctx ends it.
func (c *client) watch(ctx context.Context, in *rest.RESTClient, resource string, opts metav1.ListOptions) (watch.Interface, error) {
	c.hold.wait(ctx)
	opts.Watch = true
	return in.Get().MaxRetries(0).Namespace(c.namespace).Resource(resource).
		VersionedParams(&opts, metav1.ParameterCodec).Watch(ctx)
}

var (
	errTooMany  = errors.New("the list does not end")
	errTooLarge = fmt.Errorf("the slices take more than %d MiB", maxSlices>>20)
)

// walk goes through a list page by page: page reads one and returns where the next begins, "" at
// the end. When the API server has forgotten the list in the middle (410 Gone: etcd compacted it),
// walk calls again and starts anew; the last time it asks for everything in one page, which cannot
// expire.
func walk(limit int64, again func(), page func(metav1.ListOptions) (string, error)) error {
	for restart := 0; ; restart++ {
		again()
		opts := metav1.ListOptions{Limit: limit}
		if restart == maxRestart {
			opts.Limit = 0
		}
		err := pages(opts, page)
		if restart == maxRestart || !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			return err
		}
	}
}

func pages(opts metav1.ListOptions, page func(metav1.ListOptions) (string, error)) error {
	for range maxPages {
		next, err := page(opts)
		if err != nil || next == "" {
			return err
		}
		opts.Continue = next
	}
	return errTooMany
}
