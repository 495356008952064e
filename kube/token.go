package kube

import (
	"net/http"

	"k8s.io/client-go/rest"
)

// maxToken is more than any service account's token.
const maxToken = 64 << 10

// tokenFile sends the token of a file with each request. client-go would read the file again after
// a minute (its transport/token_source.go, NewCachedFileTokenSource), which is longer than a hook
// lives: until then one that is no longer accepted would be sent.
type tokenFile struct {
	path, last string
	next       http.RoundTripper
}

// takeTokenFile takes the token file out of the configuration, and returns what stands in for it.
func takeTokenFile(cfg *rest.Config, next http.RoundTripper) http.RoundTripper {
	if cfg.BearerTokenFile == "" {
		return next
	}
	t := tokenFile{path: cfg.BearerTokenFile, last: cfg.BearerToken, next: next}
	cfg.BearerTokenFile, cfg.BearerToken = "", ""
	return t
}

func (t tokenFile) RoundTrip(req *http.Request) (*http.Response, error) {
	token := readWord(t.path, maxToken)
	if token == "" {
		token = t.last
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token)
	return t.next.RoundTrip(req)
}
