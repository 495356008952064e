package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	podsPath   = "/api/v1/namespaces/default/pods"
	slicesPath = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
	accept     = "application/vnd.kubernetes.protobuf,application/json"
)

// client is what a kubeconfig's reader would be.
type client struct {
	*testing.T
	url, token string
	http       *http.Client
	objects    *store
}

func newClient(t *testing.T) *client {
	ctx, cancel := context.WithCancel(t.Context())
	var owned sync.WaitGroup
	c := &client{T: t, objects: newStore()}
	api, err := serveAPI(ctx, &owned, c.objects)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := api.writeKubeconfig(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string
				CA     []byte `json:"certificate-authority-data"`
			}
		}
		Users []struct{ User struct{ Token string } }
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	c.url, c.token = config.Clusters[0].Cluster.Server, config.Users[0].User.Token
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.Clusters[0].Cluster.CA) {
		t.Fatal("no certificate in the kubeconfig")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	c.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		owned.Wait()
	})
	for _, p := range []*pod{{Name: leaving, UID: "uid-a", Port: 1001}, {Name: staying, UID: "uid-b", Port: 1002}} {
		c.objects.put(pods, podObject(p, 30*time.Second, time.Time{}))
		c.objects.put(endpointSlices, sliceObject(p, false))
	}
	return c
}

func (c *client) open(path, token, accept string) *http.Response {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	c.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { resp.Body.Close() })
	return resp
}

// answerV1 is an object, a list or a Status.
type answerV1 struct {
	Kind, Reason string
	Metadata     struct {
		Name, ResourceVersion, Continue string
		DeletionTimestamp               time.Time
		DeletionGracePeriodSeconds      int
	}
	Items []answerV1
}

func (a answerV1) names() (names []string) {
	for _, item := range a.Items {
		names = append(names, item.Metadata.Name)
	}
	return names
}

func (c *client) get(path string) answerV1 {
	c.Helper()
	var a answerV1
	if err := json.NewDecoder(c.open(path, c.token, accept).Body).Decode(&a); err != nil {
		c.Fatal(err)
	}
	return a
}

func TestAnswers(t *testing.T) {
	c := newClient(t)
	for _, test := range []struct {
		path, token, accept string
		code                int
		kind                string
	}{
		{podsPath, c.token, accept, 200, "PodList"},
		{podsPath + "/web-a", c.token, accept, 200, "Pod"},
		{podsPath + "/web-a", c.token, "", 200, "Pod"},
		{slicesPath, c.token, "application/json;q=0.5", 200, "EndpointSliceList"},
		{slicesPath + "/web-web-b", c.token, accept, 200, "EndpointSlice"},
		{podsPath, c.token, "application/vnd.kubernetes.protobuf", 406, "Status"},
		{podsPath, "guess", accept, 401, "Status"},
		{podsPath, "", accept, 401, "Status"},
		{podsPath + "/web-c", c.token, accept, 404, "Status"},
		{"/api/v1/namespaces/other/pods/web-a", c.token, accept, 404, "Status"},
		{"/api/v1/namespaces/default/secrets", c.token, accept, 404, "Status"},
		{podsPath + "?labelSelector=app", c.token, accept, 400, "Status"},
		{podsPath + "?fieldSelector=spec.nodeName%3Dn", c.token, accept, 400, "Status"},
		{podsPath + "?continue=x", c.token, accept, 400, "Status"},
		{podsPath + "?watch=true&resourceVersion=x", c.token, accept, 400, "Status"},
		{podsPath + "?watch=true&resourceVersion=99", c.token, accept, 410, "Status"},
		{podsPath + "?watch=true&sendInitialEvents=true", c.token, accept, 422, "Status"},
	} {
		resp := c.open(test.path, test.token, test.accept)
		var a answerV1
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
			t.Errorf("%s: %v", test.path, err)
		}
		if resp.StatusCode != test.code || a.Kind != test.kind || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s, accepting %q: %d %s %s, want %d %s", test.path, test.accept, resp.StatusCode, a.Kind, resp.Header, test.code, test.kind)
		}
	}
}

func TestLists(t *testing.T) {
	c := newClient(t)
	for _, test := range []struct{ path, want string }{
		{podsPath, "web-a web-b"},
		{podsPath + "?fieldSelector=metadata.name%3Dweb-b", "web-b"},
		{podsPath + "?fieldSelector=metadata.name%3Dweb-c", ""},
		{"/api/v1/namespaces/other/pods", ""},
		{slicesPath + "?labelSelector=kubernetes.io%2Fservice-name+in+%28api%2Cweb%29", "web-web-a web-web-b"},
		{slicesPath + "?labelSelector=kubernetes.io%2Fservice-name%3Dapi", ""},
	} {
		list := c.get(test.path)
		if got := strings.Join(list.names(), " "); got != test.want || list.Metadata.ResourceVersion != "4" {
			t.Errorf("%s: %q at version %s, want %q at 4", test.path, got, list.Metadata.ResourceVersion, test.want)
		}
	}
}

func TestPages(t *testing.T) {
	c := newClient(t)
	first := c.get(podsPath + "?limit=1")
	c.objects.put(pods, podObject(&pod{Name: "web-c"}, time.Second, time.Time{}))
	second := c.get(podsPath + "?limit=2&continue=" + first.Metadata.Continue)
	if got := append(first.names(), second.names()...); !slices.Equal(got, []string{"web-a", "web-b", "web-c"}) {
		t.Errorf("pages hold %q", got)
	}
	if first.Metadata.Continue == "" || second.Metadata.Continue != "" {
		t.Errorf("continue is %q, then %q", first.Metadata.Continue, second.Metadata.Continue)
	}
	if first.Metadata.ResourceVersion != second.Metadata.ResourceVersion {
		t.Error("pages of one list are of different versions")
	}
}

func TestDeletedPod(t *testing.T) {
	c := newClient(t)
	end := time.Date(2030, 1, 2, 3, 4, 5, 600, time.UTC)
	c.objects.put(pods, podObject(&pod{Name: leaving, UID: "uid-a"}, 30*time.Second, end))
	m := c.get(podsPath + "/web-a").Metadata
	if !m.DeletionTimestamp.Equal(end.Truncate(time.Second)) || m.DeletionGracePeriodSeconds != 30 || m.ResourceVersion != "5" {
		t.Errorf("metadata is %+v", m)
	}
}

// watched is a watch's events, a line each: "MODIFIED web-a 5".
func (c *client) watched(path string) func() string {
	c.Helper()
	lines := bufio.NewScanner(c.open(path, c.token, accept).Body)
	return func() string {
		c.Helper()
		if !lines.Scan() {
			return "end"
		}
		var e struct {
			Type   string
			Object answerV1
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			c.Fatal(err)
		}
		return strings.Join(strings.Fields(fmt.Sprintln(e.Type, e.Object.Kind, e.Object.Metadata.Name, e.Object.Metadata.ResourceVersion)), " ")
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	a := &pod{Name: leaving, UID: "uid-a", Port: 1001}
	next := c.watched(podsPath + "?watch=true&resourceVersion=4&fieldSelector=metadata.name%3Dweb-a")
	c.objects.put(pods, podObject(&pod{Name: staying}, time.Second, time.Time{}))
	c.objects.put(endpointSlices, sliceObject(a, true))
	c.objects.put(pods, podObject(a, time.Second, time.Now()))
	if got := next(); got != "MODIFIED Pod web-a 7" {
		t.Errorf("event %q", got)
	}
	// From an older version it catches up, and then hears of versions alone.
	next = c.watched(slicesPath + "?watch=1&resourceVersion=3&allowWatchBookmarks=true&labelSelector=kubernetes.io%2Fservice-name+in+%28web%29")
	for _, want := range []string{"ADDED EndpointSlice web-web-b 4", "MODIFIED EndpointSlice web-web-a 6", "BOOKMARK EndpointSlice 7"} {
		if got := next(); got != want {
			t.Errorf("event %q, want %q", got, want)
		}
	}
	// From nowhere it begins with what there is; it ends when it was asked to.
	next = c.watched(podsPath + "?watch=true&timeoutSeconds=1")
	for _, want := range []string{"ADDED Pod web-a 7", "ADDED Pod web-b 5", "end"} {
		if got := next(); got != want {
			t.Errorf("event %q, want %q", got, want)
		}
	}
}
