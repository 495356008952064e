package servers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestPool is a router with many pooled connections and few requests, which hears late that the
// pod is out of rotation. It uses up an old connection with each request and opens none, so only
// what came of asking the app tells lull that these requests count.
func TestPool(t *testing.T) {
	const (
		pooled = 64
		every  = 500 * time.Millisecond
		told   = 8 * time.Second // later than lull would wait for new connections alone
		quiet  = 5 * time.Second
		late   = time.Second
	)
	a := app{needs: []string{"java", "javac"}}
	a.find(t)
	p := newPlace(t)
	server := javaExample(t, p)
	lull := built(t, newPlace(t), "lull")
	r := fillRouter(t, p.target(), pooled)

	hook := exec.Command(lull, "--endpoints=skip", "--port", fmt.Sprint(p.port), "--quiet", quiet.String(), "--keepalive-wait=0s",
		fmt.Sprintf("--drain=http://127.0.0.1:%d/drain", p.admin), "--timeout=40s", "--log=none")
	began := time.Now()
	held := make(chan time.Duration, 1)
	var story []byte
	go func() {
		story, _ = hook.CombinedOutput() // its exit code is looked at below
		held <- time.Since(began)
		_ = server.Process.Signal(syscall.SIGTERM) // if that fails nothing is lost, and it held too long
	}()
	var last time.Duration
	for n := 1; time.Since(began) < told; n++ {
		time.Sleep(time.Until(began.Add(time.Duration(n) * every)))
		last = time.Since(began)
		if err := r.post(); err != nil {
			t.Errorf("the request after %s: %v", last, err)
		}
	}
	took := <-held
	if code := hook.ProcessState.ExitCode(); code != 0 || took < last+quiet-100*time.Millisecond || took > last+quiet+late {
		t.Errorf("lull held for %s with exit code %d, the last request came after %s", took, code, last)
	}
	if r.dialed != pooled {
		t.Errorf("the router opened %d connections, not just the first %d", r.dialed, pooled)
	}
	if t.Failed() {
		t.Logf("lull: %s", story)
	}
}

// router sends on pooled connections, and does not repeat what fails.
type router struct {
	*http.Transport
	target string
	dialed int // connections
}

// fillRouter returns a router with so many idle connections.
func fillRouter(t *testing.T, target string, pooled int) *router {
	t.Helper()
	r := &router{target: target}
	var mu sync.Mutex
	var all sync.WaitGroup // no connection is used again before there are all of them
	all.Add(pooled)
	r.Transport = &http.Transport{
		MaxIdleConnsPerHost: pooled,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			mu.Lock()
			r.dialed++
			first := r.dialed <= pooled
			mu.Unlock()
			if first {
				all.Done()
				all.Wait()
			}
			return conn, err
		},
	}
	t.Cleanup(r.CloseIdleConnections)
	var filled sync.WaitGroup
	for range pooled {
		filled.Go(func() {
			if err := r.post(); err != nil {
				t.Error(err)
			}
		})
	}
	filled.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return r
}

func (r *router) post() error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+r.target+"/", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := r.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", answer.Status)
	}
	return nil
}
