package kube

import (
	"context"
	"net/http"
	"testing"

	"k8s.io/client-go/rest"
)

// In a pod HTTPS_PROXY (TestMain sets it) is the app's; by a kubeconfig it is the user's.
func TestProxy(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  *rest.Config
		want string
	}{
		{"in a pod", direct(&rest.Config{}), ""},
		{"by a kubeconfig", &rest.Config{}, "127.0.0.1:9"},
	} {
		tr, err := newTransport(context.Background(), tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://10.96.0.1/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		proxy, err := tr.Proxy(req)
		if err != nil {
			t.Fatal(err)
		}
		host := ""
		if proxy != nil {
			host = proxy.Host
		}
		if host != tt.want {
			t.Errorf("%s: through %q, want %q", tt.name, host, tt.want)
		}
	}
}
