package kube_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

const token = "eyJhbGciOiJub25lIn0.c2VjcmV0LW9mLXRoZS10ZXN0.c2ln"

// apiServer speaks as much of the Kubernetes API as a Watcher may ask for:
// get, list and watch of the pods and EndpointSlices of one namespace, over
// HTTPS with a bearer token, in protobuf or in JSON, with pages, bookmarks,
// selectors and expiry. Whoever asks for a cached list (any resourceVersion)
// gets an empty one: the worst that a stale cache could hold.
type apiServer struct {
	*httptest.Server
	codecs serializer.CodecFactory

	mu       sync.Mutex
	changed  *sync.Cond
	version  int
	objects  map[string]runtime.Object // by "resource/name"
	history  []change
	expired  int // watches from before this version get 410
	epoch    int // watches of an earlier epoch end
	requests []*http.Request
	agents   map[string]bool

	// What the server does wrong; set under mu with do.
	json        bool           // answer in JSON
	deny        map[string]int // "list pods": HTTP status
	delay       time.Duration  // before every answer
	goneEvent   bool           // 410 as an event rather than a status
	halfEvent   bool           // a watch ends in the middle of an event
	expireNext  int            // so many continue tokens have expired
	endless     bool           // a list has always one more page
	retryAfter  string         // header of every refusal
	plain       bool           // refusals are a page, as a proxy's, not a Status
	watchesOpen int
}

type change struct {
	kind     watch.EventType
	resource string
	obj      runtime.Object
	version  int
}

func newAPIServer(t *testing.T) *apiServer {
	scheme := runtime.NewScheme()
	corev1.AddToScheme(scheme)
	discoveryv1.AddToScheme(scheme)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	s := &apiServer{
		codecs: serializer.NewCodecFactory(scheme), version: 100,
		objects: map[string]runtime.Object{}, deny: map[string]int{}, agents: map[string]bool{},
	}
	s.changed = sync.NewCond(&s.mu)
	s.Server = httptest.NewUnstartedServer(s)
	s.EnableHTTP2 = true
	s.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.do(func() { s.epoch++ })
		s.Close()
	})
	return s
}

// config reaches the server as a pod would.
func (s *apiServer) config() *rest.Config {
	return &rest.Config{
		Host:        s.URL,
		BearerToken: token,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		},
	}
}

// do changes the server's behaviour, and wakes its watches.
func (s *apiServer) do(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what()
	s.changed.Broadcast()
}

func resourceOf(obj runtime.Object) string {
	if _, ok := obj.(*corev1.Pod); ok {
		return "pods"
	}
	return "endpointslices"
}

// put stores objects and tells the watches.
func (s *apiServer) put(objs ...runtime.Object) {
	s.do(func() {
		for _, obj := range objs {
			obj = obj.DeepCopyObject()
			m, _ := meta.Accessor(obj)
			key := resourceOf(obj) + "/" + m.GetName()
			kind := watch.Modified
			if s.objects[key] == nil {
				kind = watch.Added
			}
			s.record(kind, obj)
			s.objects[key] = obj
		}
	})
}

// remove deletes an object, as if by force.
func (s *apiServer) remove(obj runtime.Object) {
	s.do(func() {
		m, _ := meta.Accessor(obj)
		key := resourceOf(obj) + "/" + m.GetName()
		if old := s.objects[key]; old != nil {
			delete(s.objects, key)
			s.record(watch.Deleted, old.DeepCopyObject())
		}
	})
}

func (s *apiServer) record(kind watch.EventType, obj runtime.Object) {
	s.version++
	m, _ := meta.Accessor(obj)
	m.SetNamespace("default")
	m.SetResourceVersion(strconv.Itoa(s.version))
	s.history = append(s.history, change{kind, resourceOf(obj), obj, s.version})
}

// bookmark sends one to every watch.
func (s *apiServer) bookmark() {
	s.do(func() {
		s.version++
		for _, obj := range []runtime.Object{&corev1.Pod{}, &discoveryv1.EndpointSlice{}} {
			m, _ := meta.Accessor(obj)
			m.SetResourceVersion(strconv.Itoa(s.version))
			s.history = append(s.history, change{watch.Bookmark, resourceOf(obj), obj, s.version})
		}
	})
}

// compact forgets all history: a watch must begin at the present version.
func (s *apiServer) compact() {
	s.do(func() { s.expired = s.version })
}

// breakWatches ends all open watches.
func (s *apiServer) breakWatches() {
	s.do(func() { s.epoch++ })
}

// asked counts the requests so far of a verb on a resource.
func (s *apiServer) asked(verb, resource string) int {
	return len(s.queries(verb, resource))
}

// queries are the parameters of the requests so far.
func (s *apiServer) queries(verb, resource string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if v, res, _ := parse(r); v == verb && res == resource {
			all = append(all, r.URL.Query().Get("labelSelector")+r.URL.Query().Get("fieldSelector"))
		}
	}
	return all
}

func parse(r *http.Request) (verb, resource, name string) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/default/")
	path = strings.TrimPrefix(path, "/apis/discovery.k8s.io/v1/namespaces/default/")
	resource, name, _ = strings.Cut(path, "/")
	switch {
	case name != "":
		return "get", resource, name
	case r.URL.Query().Get("watch") == "true":
		return "watch", resource, ""
	}
	return "list", resource, ""
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb, resource, name := parse(r)
	s.mu.Lock()
	s.requests = append(s.requests, r)
	s.agents[r.UserAgent()] = true
	delay, code, retryAfter, plain := s.delay, s.deny[verb+" "+resource], s.retryAfter, s.plain
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return
	}
	switch {
	case r.Method != http.MethodGet:
		s.refuse(w, r, http.StatusMethodNotAllowed, "")
	case r.Header.Get("Authorization") != "Bearer "+token:
		s.refuse(w, r, http.StatusUnauthorized, "")
	case code != 0 && plain:
		http.Error(w, "404 page not found", code)
	case code != 0:
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		s.refuse(w, r, code, name)
	case verb == "get":
		s.mu.Lock()
		obj := s.objects[resource+"/"+name]
		s.mu.Unlock()
		if obj == nil {
			s.refuse(w, r, http.StatusNotFound, name)
			return
		}
		s.answer(w, r, http.StatusOK, obj)
	case verb == "list":
		s.serveList(w, r, resource)
	default:
		s.serveWatch(w, r, resource)
	}
}

func (s *apiServer) refuse(w http.ResponseWriter, r *http.Request, code int, name string) {
	verb, resource, _ := parse(r)
	reason := map[int]metav1.StatusReason{
		401: metav1.StatusReasonUnauthorized, 403: metav1.StatusReasonForbidden,
		404: metav1.StatusReasonNotFound, 410: metav1.StatusReasonExpired,
		429: metav1.StatusReasonTooManyRequests, 500: metav1.StatusReasonInternalError,
	}[code]
	s.answer(w, r, code, &metav1.Status{
		Status: "Failure", Code: int32(code), Reason: reason, Details: &metav1.StatusDetails{Name: name, Kind: resource},
		Message: fmt.Sprintf(`%s is refused: User "system:serviceaccount:default:web" cannot %s resource %q; sent Bearer %s`,
			resource, verb, resource, token),
	})
}

// serializer negotiates, in the client's order of preference unless JSON is wanted.
func (s *apiServer) serializer(r *http.Request) runtime.SerializerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := "application/json"
	if accept := r.Header.Get("Accept"); !s.json && strings.HasPrefix(accept, "application/vnd.kubernetes.protobuf") {
		want = "application/vnd.kubernetes.protobuf"
	}
	info, _ := runtime.SerializerInfoForMediaType(s.codecs.SupportedMediaTypes(), want)
	return info
}

// encode writes a copy of obj: while it works an encoder sets the kind in what it is given.
func (s *apiServer) encode(info runtime.SerializerInfo, obj runtime.Object, to io.Writer) error {
	gv := corev1.SchemeGroupVersion
	switch obj.(type) {
	case *discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList:
		gv = discoveryv1.SchemeGroupVersion
	}
	return s.codecs.EncoderForVersion(info.Serializer, gv).Encode(obj.DeepCopyObject(), to)
}

func (s *apiServer) answer(w http.ResponseWriter, r *http.Request, code int, obj runtime.Object) {
	info := s.serializer(r)
	w.Header().Set("Content-Type", info.MediaType)
	w.WriteHeader(code)
	_ = s.encode(info, obj, w) // an error means that the client is gone
}

// matching returns what the selectors of a request let through.
func matching(r *http.Request) func(runtime.Object) bool {
	byLabel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		panic(err)
	}
	byField, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	if err != nil {
		panic(err)
	}
	return func(obj runtime.Object) bool {
		m, _ := meta.Accessor(obj)
		return byLabel.Matches(labels.Set(m.GetLabels())) && byField.Matches(fields.Set{"metadata.name": m.GetName()})
	}
}

func (s *apiServer) serveList(w http.ResponseWriter, r *http.Request, resource string) {
	query, match := r.URL.Query(), matching(r)
	s.mu.Lock()
	var items []runtime.Object
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if obj := s.objects[key]; resourceOf(obj) == resource && match(obj) {
			items = append(items, obj)
		}
	}
	if query.Get("resourceVersion") != "" {
		items = nil
	}
	at := metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)}
	from, _ := strconv.Atoi(query.Get("continue"))
	expired := from > 0 && s.expireNext > 0
	if expired {
		s.expireNext--
	}
	limit, _ := strconv.Atoi(query.Get("limit"))
	items = items[min(from, len(items)):]
	if limit > 0 && len(items) > limit {
		items = items[:limit]
		at.Continue = strconv.Itoa(from + limit)
	}
	if s.endless {
		at.Continue = strconv.Itoa(from + 1)
	}
	s.mu.Unlock()
	if expired {
		s.refuse(w, r, http.StatusGone, "")
		return
	}
	if resource == "pods" {
		list := &corev1.PodList{ListMeta: at}
		for _, o := range items {
			list.Items = append(list.Items, *o.(*corev1.Pod))
		}
		s.answer(w, r, http.StatusOK, list)
		return
	}
	list := &discoveryv1.EndpointSliceList{ListMeta: at}
	for _, o := range items {
		list.Items = append(list.Items, *o.(*discoveryv1.EndpointSlice))
	}
	s.answer(w, r, http.StatusOK, list)
}

// open is how many watches are open now.
func (s *apiServer) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watchesOpen
}
