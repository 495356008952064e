package kube

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is a pause that doubles each time.
type backoff struct{ first, most, now time.Duration }

// next returns the pause to make now.
func (b *backoff) next() time.Duration {
	b.now = min(max(2*b.now, b.first), b.most)
	return b.now
}

// reset makes the first pause the next one.
func (b *backoff) reset() { b.now = 0 }

// jitter varies a pause by a tenth either way, so that hooks that started together do not ask
// together for long.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// sleep waits, and reports whether it was for the whole time.
func sleep(ctx context.Context, d time.Duration, sooner <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-sooner:
	case <-ctx.Done():
	}
	return false
}
