package kube_test

import (
	"net"
	"testing"

	"lull/kube"
	"lull/testdata/apiserver"
)

// newAPIServer starts a server that ends with the test.
func newAPIServer(t testing.TB) *apiserver.Server {
	s := apiserver.New()
	t.Cleanup(s.Close)
	return s
}

// newWire carries connections to a server until the test ends.
func newWire(t *testing.T, target string) *apiserver.Wire {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := apiserver.NewWire(ln, target)
	t.Cleanup(w.Close)
	return w
}

// The server itself, from many at once: what it stores it only reads.
func TestAPIServerAnswersManyAtOnce(t *testing.T) {
	t.Parallel()
	s, flip := rotating(t)
	var watchers []*kube.Watcher
	for range 16 {
		watchers = append(watchers, watching(t, s.Config(), me, kube.Options{}))
	}
	eventually(t, "all watches", func() bool { return s.Open() == len(watchers) })
	flip(false)
	for _, w := range watchers {
		await(t, w, "out of rotation", inRotation(false))
	}
}
