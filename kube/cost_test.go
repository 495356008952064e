package kube

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"
)

// webSlice is a slice of a Service with some endpoints, none of them ours.
func webSlice(n int) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4}
	s.Name, s.Labels = fmt.Sprintf("web-%08d", n), map[string]string{discoveryv1.LabelServiceName: "web"}
	for i := range 4 {
		s.Endpoints = append(s.Endpoints, ep(fmt.Sprintf("%s%06d%02d", mine[:28], n, i), fmt.Sprintf("10.%d.%d.%d", n>>8, n&255, i), "yyn"))
	}
	return s
}

// An event costs what its slice holds, and not what all slices of the Service hold.
func TestEventsCostTheSame(t *testing.T) {
	const few, many, events = 100, 1600, 1000
	cost := func(held int) time.Duration {
		w, err := NewWatcher(&rest.Config{Host: "https://127.0.0.1:1"}, Identity{Namespace: "default", Name: "web-1", UID: mine}, Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		own := webSlice(held)
		own.Endpoints = append(own.Endpoints, ep(mine, "10.200.0.1", "yyn"))
		all := []*discoveryv1.EndpointSlice{own}
		for n := range held {
			all = append(all, webSlice(n))
		}
		w.learn(func(k *knowledge) { k.sawList(all...) })
		began := time.Now()
		for i := range events {
			w.learn(func(k *knowledge) { k.sawSlice(webSlice(i % held)) })
		}
		took := time.Since(began)
		if v, _ := w.View(); len(v.Services) != 1 || v.Services[0].Ready != 4*held+4 {
			t.Fatalf("not all are counted: %+v", v.Services)
		}
		return took
	}
	var best float64
	for range 3 { // a busy machine disturbs some of them
		if ratio := float64(cost(many)) / float64(cost(few)); best == 0 || ratio < best {
			best = ratio
		}
	}
	t.Logf("with %d times the slices an event costs %.1f times as much", many/few, best)
	if best > 3 {
		t.Error("that is too much")
	}
}
