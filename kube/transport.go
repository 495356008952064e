package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"k8s.io/client-go/rest"
)

// How soon a connection that is not answered is given up.
const (
	dialTimeout   = 3 * time.Second  // a SYN that is dropped, a TLS handshake that is not answered
	headerTimeout = 10 * time.Second // until a watch is open
	pingAfter     = 2 * time.Second  // of silence on an HTTP/2 connection
	pingTimeout   = 2 * time.Second  // until one that does not answer is closed
)

// maxAnswer is how much an answer may hold: it is read as a whole, into the memory of the app's
// container. etcd allows 1.5 MB an object (--max-request-bytes), so one always fits.
const maxAnswer = 2 << 20

// newTransport notices within seconds that the other side is dead: an HTTP/2 connection (all
// requests share it) by pings, which a slow server answers and a dead one does not; an HTTP/1.1 one
// by TCP keepalives. Its connections end with life.
func newTransport(life context.Context, cfg *rest.Config) (*http.Transport, error) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{
			Timeout:         dialTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pingAfter, Interval: time.Second, Count: 3},
		}).DialContext
	}
	proxy := cfg.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	return &http.Transport{
		Proxy: proxy,
		// The end of life closes every connection. CloseIdleConnections would pass over those whose
		// watches have only just been cancelled.
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err == nil {
				context.AfterFunc(life, func() { _ = conn.Close() })
			}
			return conn, err
		},
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    cfg.DisableCompression,
		ForceAttemptHTTP2:     len(cfg.NextProtos) == 0 || slices.Contains(cfg.NextProtos, "h2"),
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}, nil
}

// bounded stops reading an answer that is too large to be one. Watches go on for ever; client-go
// bounds each of their events by itself.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err != nil || isWatch(req) && resp.StatusCode == http.StatusOK {
		return resp, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

func isWatch(req *http.Request) bool { return req.URL.Query().Has("watch") }

// observed tells of each request: that it is being sent, unless it is an Event, whose answer nobody
// goes by; what the answer asks for; and in the log at debug level when the answer begins, or that
// there was none. The query is left out there, and so are headers: they hold the token.
type observed struct {
	next http.RoundTripper
	log  *slog.Logger
	asks func()
	hold *hold
}

func (l observed) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		l.asks()
	}
	start := time.Now()
	resp, err := l.next.RoundTrip(req)
	if err == nil {
		l.hold.heed(resp)
	}
	if !l.log.Enabled(req.Context(), slog.LevelDebug) {
		return resp, err
	}
	verb, outcome := req.Method, ""
	if isWatch(req) {
		verb = "WATCH"
	}
	switch {
	case req.Context().Err() != nil:
		outcome = req.Context().Err().Error()
	case err != nil:
		outcome = oneLine(err.Error())
	default:
		outcome = oneLine(resp.Status)
	}
	l.log.Debug(fmt.Sprintf("%s %s: %s", verb, oneLine(req.URL.Path), outcome), "event", "request", "verb", verb, "path", oneLine(req.URL.Path),
		"outcome", outcome, "took_s", time.Since(start).Round(time.Millisecond).Seconds())
	return resp, err
}
