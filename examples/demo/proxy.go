package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"
)

// proxy is the load balancer: it sends each request to one of the endpoints
// that were ready when it last heard of them, and it hears late. It has two
// entrances: one opens a connection to the pod for every request, one pools
// them.
type proxy struct {
	Fresh, Pooled string // the entrances' URLs

	mu    sync.Mutex
	ready map[string]string // host:port by pod name
}

// serveProxy serves until ctx is done. The proxy follows the EndpointSlices lag
// behind; say is told when it drops a pod.
func serveProxy(ctx context.Context, owned *sync.WaitGroup, objects *store, lag time.Duration, say func(string)) (*proxy, error) {
	p := &proxy{ready: map[string]string{}}
	items, version := objects.list(endpointSlices)
	for _, item := range items {
		if _, err := p.apply(item.body); err != nil {
			return nil, err
		}
	}
	var err error
	if p.Fresh, err = p.serve(ctx, owned, &http.Transport{DisableKeepAlives: true}); err != nil {
		return nil, err
	}
	if p.Pooled, err = p.serve(ctx, owned, &http.Transport{MaxIdleConnsPerHost: 64}); err != nil {
		return nil, err
	}
	owned.Go(func() { p.follow(ctx, objects, version, lag, say) })
	return p, nil
}

// serve opens an entrance. A request that fails on its way to the pod is
// answered with 502 and never sent to the other one. (http.Transport repeats a
// GET by itself if a pooled connection turns out to be closed, but to the same
// pod, where that fails too.)
func (p *proxy) serve(ctx context.Context, owned *sync.WaitGroup, transport *http.Transport) (string, error) {
	return serveHTTP(ctx, owned, &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", p.pick()
		},
		Transport: transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
		ErrorLog: silent,
	}}, transport.CloseIdleConnections)
}

// pick returns an endpoint, "" (which makes the request fail) if none is ready.
func (p *proxy) pick() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := rand.IntN(max(len(p.ready), 1))
	for _, host := range p.ready {
		if n == 0 {
			return host
		}
		n--
	}
	return ""
}

// follow applies each change when it is lag old.
func (p *proxy) follow(ctx context.Context, objects *store, version int64, lag time.Duration, say func(string)) {
	for {
		changes, more := objects.since(version)
		for _, c := range changes {
			version = c.version
			if c.resource != endpointSlices {
				continue
			}
			if !sleep(ctx, time.Until(c.at.Add(lag))) {
				return
			}
			if dropped, err := p.apply(c.body); err == nil && dropped != "" {
				say("the proxy hears of it, and sends nothing more to " + dropped)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		}
	}
}

// apply takes a slice's endpoints over and returns the pod that is no longer
// ready, if any.
func (p *proxy) apply(body []byte) (dropped string, err error) {
	var s endpointSlice
	if err := json.Unmarshal(body, &s); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range s.Endpoints {
		_, was := p.ready[e.TargetRef.Name]
		switch {
		case e.Conditions.Ready:
			p.ready[e.TargetRef.Name] = net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(s.Ports[0].Port)))
		case was:
			delete(p.ready, e.TargetRef.Name)
			dropped = e.TargetRef.Name
		}
	}
	return dropped, nil
}
