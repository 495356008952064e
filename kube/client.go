package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
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

// How long what may take. A hook lives for some 20 s, so that nothing may hang
// for longer than a fraction of that.
const (
	dialTimeout   = 3 * time.Second  // a SYN that is dropped, a TLS handshake that is not answered
	getTimeout    = 3 * time.Second  // one object
	pageTimeout   = 10 * time.Second // a page of a list from a slow server
	headerTimeout = 10 * time.Second // until a watch is open
	pingAfter     = 2 * time.Second  // of silence on an HTTP/2 connection
	pingTimeout   = 2 * time.Second  // until one that does not answer is closed
)

// How much an answer may hold. API servers allow 1.5 MB an object and pages are
// of some tens of objects, most of them a few kB.
const (
	maxBody    = 64 << 20
	maxPages   = 400
	podPage    = 50
	slicePage  = 100
	maxRestart = 3
)

// client makes the few requests that the package needs. Each is tried once:
// who asks knows best when to ask again.
type client struct {
	namespace string
	core      *rest.RESTClient
	discovery *rest.RESTClient
	lines     *lines
}

// newClient joins the configuration with a transport of its own: client-go's
// would notice a dead connection after 45 s, and keep it for the process.
func newClient(cfg *rest.Config, namespace string) (*client, error) {
	silenceClientGo()
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "lull"
	cfg.QPS = -1 // a handful of requests: no limit, no delay
	cfg.RateLimiter = nil
	cfg.Timeout = 0
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON

	lines := &lines{dial: cfg.Dial}
	transport, err := newTransport(cfg, lines)
	if err != nil {
		return nil, fmt.Errorf("api server's configuration: %s", oneLine(err.Error()))
	}
	wrapped, err := rest.HTTPWrappersForConfig(cfg, bounded{transport})
	if err != nil {
		return nil, fmt.Errorf("api server's credentials: %s", oneLine(err.Error()))
	}
	c := &client{namespace: namespace, lines: lines}
	web := &http.Client{Transport: wrapped}
	if c.core, err = newREST(cfg, web, "/api", corev1.SchemeGroupVersion, &corev1.Pod{}, &corev1.PodList{}); err != nil {
		return nil, err
	}
	c.discovery, err = newREST(cfg, web, "/apis", discoveryv1.SchemeGroupVersion,
		&discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// newREST knows two types alone: the rest of Kubernetes' would triple the binary.
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

// newTransport notices within seconds that the other side is dead: an HTTP/2
// connection (all requests share it) by pings, which a slow server answers and a
// dead one doesn't; an HTTP/1.1 one by TCP keepalives.
func newTransport(cfg *rest.Config, over *lines) (*http.Transport, error) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	if over.dial == nil {
		over.dial = (&net.Dialer{
			Timeout:         dialTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pingAfter, Interval: time.Second, Count: 3},
		}).DialContext
	}
	proxy := cfg.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	return &http.Transport{
		Proxy:                 proxy,
		DialContext:           over.DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    cfg.DisableCompression,
		ForceAttemptHTTP2:     len(cfg.NextProtos) == 0 || slices.Contains(cfg.NextProtos, "h2"),
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}, nil
}

// bounded stops reading an answer that is too large to be one. Watches go on
// for ever; client-go bounds each of their events by itself.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err != nil || req.URL.Query().Has("watch") && resp.StatusCode == http.StatusOK {
		return resp, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxBody)
	return resp, nil
}

// close ends all requests and connections, for good.
func (c *client) close() { c.lines.end() }

// pod reads one pod, consistently.
func (c *client) pod(ctx context.Context, name string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	pod := &corev1.Pod{}
	err := c.core.Get().MaxRetries(0).Namespace(c.namespace).Resource("pods").Name(name).Do(ctx).Into(pod)
	return pod, err
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

// list is consistent whatever opts say: without a resource version the API
// server answers from etcd, or from a cache that it has made sure is as new.
// With "0", or with any version, it may answer from a cache that is behind.
func (c *client) list(ctx context.Context, in *rest.RESTClient, resource string, opts metav1.ListOptions, into runtime.Object) error {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	opts.ResourceVersion, opts.ResourceVersionMatch = "", ""
	return in.Get().MaxRetries(0).Namespace(c.namespace).Resource(resource).
		VersionedParams(&opts, metav1.ParameterCodec).Do(ctx).Into(into)
}

// watch opens a watch; events follow until the server or ctx ends it.
func (c *client) watch(ctx context.Context, in *rest.RESTClient, resource string, opts metav1.ListOptions) (watch.Interface, error) {
	opts.Watch = true
	return in.Get().MaxRetries(0).Namespace(c.namespace).Resource(resource).
		VersionedParams(&opts, metav1.ParameterCodec).Watch(ctx)
}

var errTooMany = errors.New("the list does not end")

// walk goes through a list page by page: page reads one and returns where the
// next begins, "" at the end. When the API server has forgotten the list in
// the middle (410 Gone: etcd compacted it), walk calls again and starts anew; the
// last time it asks for everything in one page, which cannot expire.
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
