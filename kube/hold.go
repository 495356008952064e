package kube

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// maxHold is how long a server in trouble is left alone at most, whatever it asks for: a hook lives
// for some 20 s.
const maxHold = 5 * time.Second

// hold keeps requests back for as long as the API server has asked for by Retry-After, as its own
// filters do when it has too much to do (k8s.io/apiserver, pkg/server/filters).
type hold struct {
	mu    sync.Mutex
	until time.Time
}

// heed notes what an answer asks for. Later by up to 20%: all others were told the same.
func (h *hold) heed(resp *http.Response) {
	seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
	if resp.StatusCode < http.StatusTooManyRequests || err != nil {
		return
	}
	d := min(time.Duration(seconds)*time.Second, maxHold)
	d += time.Duration(0.2 * rand.Float64() * float64(d))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = time.Now().Add(d)
}

// wait returns when a request may be sent, or ctx is done.
func (h *hold) wait(ctx context.Context) {
	h.mu.Lock()
	d := time.Until(h.until)
	h.mu.Unlock()
	if d > 0 {
		sleep(ctx, d, nil)
	}
}
