package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// api is a Kubernetes API server as far as lull needs one: get, list and watch
// of pods and EndpointSlices, over HTTPS with a bearer token, in JSON. How such a
// server behaves is said in Kubernetes' "API concepts"
// (kubernetes.io/docs/reference/using-api/api-concepts).
type api struct {
	objects *store
	token   string
	url     string
	cert    []byte // PEM: its own certificate authority
}

// bookmarkEvery is how often a watch that allows bookmarks gets one.
const bookmarkEvery = time.Second

// serveAPI serves until ctx is done.
func serveAPI(ctx context.Context, owned *sync.WaitGroup, objects *store) (*api, error) {
	cert, pem, err := newCertificate()
	if err != nil {
		return nil, err
	}
	a := &api{objects: objects, token: rand.Text(), cert: pem}
	a.url, err = serveHTTP(ctx, owned, &http.Server{
		Handler: a.handler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}, nil)
	return a, err
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	for _, c := range []collection{
		{a, pods, "v1", "PodList"},
		{a, endpointSlices, "discovery.k8s.io/v1", "EndpointSliceList"},
	} {
		root := "/apis/"
		if c.apiVersion == "v1" {
			root = "/api/"
		}
		path := "GET " + root + c.apiVersion + "/namespaces/{namespace}/" + c.resource
		mux.HandleFunc(path, c.listOrWatch)
		mux.HandleFunc(path+"/{name}", c.get)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+a.token)) != 1:
			refuse(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
		case !acceptsJSON(r.Header.Values("Accept")):
			refuse(w, http.StatusNotAcceptable, "NotAcceptable", "only application/json is served")
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// acceptsJSON: whoever asks for protobuf first must take JSON second.
func acceptsJSON(accept []string) bool {
	if len(accept) == 0 {
		return true
	}
	for kind := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, _, _ = strings.Cut(kind, ";")
		switch strings.TrimSpace(kind) {
		case "application/json", "application/*", "*/*":
			return true
		}
	}
	return false
}

// collection is one resource of the API.
type collection struct {
	*api
	resource, apiVersion, listKind string
}

func (c collection) get(w http.ResponseWriter, r *http.Request) {
	items, _ := c.objects.list(c.resource)
	for _, item := range items {
		if item.namespace == r.PathValue("namespace") && item.name == r.PathValue("name") {
			answer(w, http.StatusOK, item.body)
			return
		}
	}
	refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", c.resource, r.PathValue("name")))
}

func (c collection) listOrWatch(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	selected, err := parseSelector(r.PathValue("namespace"), query)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	if watch, _ := strconv.ParseBool(query.Get("watch")); watch {
		c.watch(w, r, selected)
		return
	}
	c.list(w, r, selected)
}

// list answers with one page. The pages of one list share the version of the
// first: a later page may be newer than that, and a watch from there says so
// again, which does no harm.
func (c collection) list(w http.ResponseWriter, r *http.Request, selected selector) {
	query := r.URL.Query()
	items, version := c.objects.list(c.resource)
	after := ""
	if token := query.Get("continue"); token != "" {
		first, name, ok := strings.Cut(token, "/")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil || !ok {
			refuse(w, http.StatusBadRequest, "BadRequest", "continue key is not valid")
			return
		}
		version, after = n, name
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit <= 0 {
		limit = len(items)
	}
	page := []json.RawMessage{}
	meta := map[string]any{"resourceVersion": strconv.FormatInt(version, 10)}
	last := ""
	for _, item := range items {
		if item.name <= after || !selected.matches(item) {
			continue
		}
		if len(page) == limit {
			meta["continue"] = fmt.Sprintf("%d/%s", version, last)
			break
		}
		page, last = append(page, item.body), item.name
	}
	answer(w, http.StatusOK, map[string]any{"kind": c.listKind, "apiVersion": c.apiVersion, "metadata": meta, "items": page})
}

// watch streams what changes after resourceVersion; without one, or from "0",
// first everything there is.
func (c collection) watch(w http.ResponseWriter, r *http.Request, selected selector) {
	query := r.URL.Query()
	if query.Has("sendInitialEvents") {
		// KEP-3157: a server that has it switched off says so, and the client
		// lists first.
		refuse(w, http.StatusUnprocessableEntity, "Invalid", "sendInitialEvents is not supported")
		return
	}
	items, version := c.objects.list(c.resource)
	if from := query.Get("resourceVersion"); from != "" && from != "0" {
		n, err := strconv.ParseInt(from, 10, 64)
		switch {
		case err != nil || n < 0:
			refuse(w, http.StatusBadRequest, "BadRequest", fmt.Sprintf("invalid resourceVersion %q", from))
			return
		case n > version:
			refuse(w, http.StatusGone, "Expired", fmt.Sprintf("resourceVersion %d is not of this server", n))
			return
		}
		items, version = nil, n
	}
	ctx := r.Context()
	if seconds, err := strconv.Atoi(query.Get("timeoutSeconds")); err == nil && seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
	}
	bookmarks, _ := strconv.ParseBool(query.Get("allowWatchBookmarks"))
	s := &stream{collection: c, w: w, selected: selected, version: version}
	w.Header().Set("Content-Type", "application/json")
	for _, item := range items {
		item.kind = "ADDED"
		s.send(item)
	}
	s.follow(ctx, bookmarks)
}

// stream is a watch under way: JSON events, one after the other.
type stream struct {
	collection
	w        http.ResponseWriter
	selected selector
	version  int64
	err      error
}

// follow returns when ctx is done or the client is gone.
func (s *stream) follow(ctx context.Context, bookmarks bool) {
	flush := http.NewResponseController(s.w)
	tick := time.NewTicker(bookmarkEvery)
	defer tick.Stop()
	for {
		changes, more := s.objects.since(s.version)
		for _, c := range changes {
			s.send(c)
			s.version = c.version
		}
		if s.err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		case <-tick.C:
			if bookmarks {
				s.bookmark()
			}
		}
	}
}

// send is for changes of any resource, and leaves out what was not asked for.
func (s *stream) send(c change) {
	if c.resource == s.resource && s.selected.matches(c) {
		s.event(c.kind, c.body)
	}
}

func (s *stream) bookmark() {
	s.event("BOOKMARK", map[string]any{
		"kind": strings.TrimSuffix(s.listKind, "List"), "apiVersion": s.apiVersion,
		"metadata": map[string]any{"resourceVersion": strconv.FormatInt(s.version, 10)},
	})
}

func (s *stream) event(kind string, object any) {
	s.err = errors.Join(s.err, json.NewEncoder(s.w).Encode(map[string]any{"type": kind, "object": object}))
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object) // an error means that the client is gone
}

// refuse answers with a Status (k8s.io/apimachinery/pkg/apis/meta/v1, types.go).
func refuse(w http.ResponseWriter, code int, reason, message string) {
	answer(w, code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": struct{}{}, "status": "Failure",
		"reason": reason, "message": message, "code": code,
	})
}
