package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a client waits for an answer. After that its request has failed.
const patience = 5 * time.Second

// load is the clients, and what became of their requests. A request has failed
// if it got no answer or one of 500 or more; nobody tries again.
type load struct {
	served, failed atomic.Int64

	reason atomic.Pointer[string] // of the last failure
	ctx    context.Context        // ends when the clients are to stop
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// startLoad starts n clients with a new connection for every request, and n
// that keep theirs. Each takes GET and POST in turns, one request at a time.
func startLoad(ctx context.Context, p *proxy, n int, every time.Duration) *load {
	l := &load{}
	l.ctx, l.cancel = context.WithCancel(ctx)
	for _, to := range []struct {
		url   string
		fresh bool
	}{{p.Fresh, true}, {p.Pooled, false}} {
		for range n {
			transport := &http.Transport{DisableKeepAlives: to.fresh}
			client := &http.Client{Transport: transport, Timeout: patience}
			l.done.Go(func() {
				defer transport.CloseIdleConnections()
				l.keepAsking(l.ctx, client, to.url, every, http.MethodGet, http.MethodPost)
			})
		}
	}
	return l
}

// keep adds a client that has a connection to the pod itself, and keeps it until the pod ends it.
// Each one after that goes by the proxy, like those of the others. Its requests are all GET: one
// that meets the end of its connection is sent again by net/http, where a POST would fail.
func (l *load) keep(port uint16, p *proxy, every time.Duration) {
	pod := "127.0.0.1:" + strconv.Itoa(int(port))
	var ended atomic.Bool
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		to := pod
		if ended.Swap(true) {
			to = strings.TrimPrefix(p.Fresh, "http://")
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}}
	client := &http.Client{Transport: transport, Timeout: patience}
	l.done.Go(func() {
		defer transport.CloseIdleConnections()
		l.keepAsking(l.ctx, client, "http://"+pod, every, http.MethodGet)
	})
}

// stop lets the requests under way finish, and returns when they have.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// keepAsking takes the methods in turns.
func (l *load) keepAsking(ctx context.Context, client *http.Client, url string, every time.Duration, methods ...string) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		method, body := methods[i%len(methods)], io.Reader(nil)
		if method == http.MethodPost {
			body = io.MultiReader(strings.NewReader("an order")) // no reader that a transport could rewind
		}
		if err := ask(context.WithoutCancel(ctx), client, method, url, body); err != nil {
			l.failed.Add(1)
			why := err.Error()
			l.reason.Store(&why)
			continue
		}
		l.served.Add(1)
	}
}

// why is what the last failure said; "" without one.
func (l *load) why() string {
	if why := l.reason.Load(); why != nil {
		return *why
	}
	return ""
}

func ask(ctx context.Context, client *http.Client, method, url string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%d: %s", resp.StatusCode, strings.TrimSpace(string(text)))
	}
	return nil
}
