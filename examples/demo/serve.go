package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

var silent = log.New(io.Discard, "", 0)

// serveHTTP serves on a port of its own until ctx is done, then calls end. It
// returns the URL.
func serveHTTP(ctx context.Context, owned *sync.WaitGroup, srv *http.Server, end func()) (string, error) {
	l, err := listen(ctx)
	if err != nil {
		return "", err
	}
	srv.ReadHeaderTimeout = 10 * time.Second
	srv.ErrorLog = silent
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	scheme, serve := "http://", srv.Serve
	if srv.TLSConfig != nil {
		scheme, serve = "https://", func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	// It ends with http.ErrServerClosed; any other end shows as failed requests.
	owned.Go(func() { _ = serve(l) })
	owned.Go(func() {
		<-ctx.Done()
		_ = srv.Close()
		if end != nil {
			end()
		}
	})
	return scheme + l.Addr().String(), nil
}

func listen(ctx context.Context) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
}

func portOf(l net.Listener) uint16 {
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}
