// Package apiserver is a Kubernetes API server for tests, which does wrong what it is told to.
package apiserver

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// Token is the bearer token that the server accepts, unless told otherwise.
const Token = "eyJhbGciOiJub25lIn0.c2VjcmV0LW9mLXRoZS10ZXN0.c2ln"

// Server speaks as much of the Kubernetes API as a Watcher may ask for: get, list and watch of
// the pods and EndpointSlices of one namespace, over HTTPS with a bearer token, in protobuf or in
// JSON, with pages, bookmarks, selectors and expiry. Whoever asks for a cached list (any
// resourceVersion) gets an empty one: the worst that a stale cache could hold.
type Server struct {
	*httptest.Server
	codecs serializer.CodecFactory

	mu       sync.Mutex
	changed  *sync.Cond
	version  int
	objects  map[string]runtime.Object // by "resource/name"
	history  []change
	expired  int // watches from before this version get 410
	Epoch    int // watches of an earlier epoch end
	Requests []*http.Request
	Agents   map[string]bool

	// What the server does wrong; set with Do once it is asked.
	Tokens      []string                                      // that are accepted; none: Token
	Answer      func(http.ResponseWriter, *http.Request) bool // answers instead; false: it did not
	JSON        bool                                          // answer in JSON
	Deny        map[string]int                                // "list pods": HTTP status
	Delay       time.Duration                                 // before every answer
	Slow        map[string]time.Duration                      // "list pods": before its answers
	GoneEvent   bool                                          // 410 as an event rather than a status
	HalfEvent   bool                                          // a watch ends in the middle of an event
	Flood       int                                           // watches send 10,000 events a second, of so many slices
	ExpireNext  int                                           // so many continue tokens have expired
	AsOf        map[string]int                                // resources that are served as of an older version
	Endless     bool                                          // a list has always one more page
	EndlessOf   string                                        // so has one by this label selector, and they are full
	RetryAfter  string                                        // header of every refusal
	Hang        bool                                          // no answer to get
	Plain       bool                                          // refusals are a page, as a proxy's, not a Status
	watchesOpen int
	sent        int // bytes of answers
	created     []*corev1.Event
}

type change struct {
	kind     watch.EventType
	resource string
	obj      runtime.Object
	version  int
}

// New starts a server on loopback. Close ends it.
func New() *Server { return On(nil) }

// On starts a server on a listener.
func On(listener net.Listener) *Server {
	scheme := runtime.NewScheme()
	corev1.AddToScheme(scheme)
	discoveryv1.AddToScheme(scheme)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	s := &Server{
		codecs: serializer.NewCodecFactory(scheme), version: 100,
		objects: map[string]runtime.Object{}, Deny: map[string]int{}, AsOf: map[string]int{}, Agents: map[string]bool{},
	}
	s.changed = sync.NewCond(&s.mu)
	s.Server = httptest.NewUnstartedServer(s)
	if listener != nil {
		_ = s.Listener.Close()
		s.Listener = listener
	}
	s.EnableHTTP2 = true
	s.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	return s
}

// Close ends the server, its connections and its watches.
func (s *Server) Close() {
	s.CloseClientConnections()
	s.Do(func() { s.Epoch++ })
	s.Server.Close()
}

// Config reaches the server as a pod would.
func (s *Server) Config() *rest.Config {
	return &rest.Config{
		Host:        s.URL,
		BearerToken: Token,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		},
	}
}

// Do changes the server's behaviour, and wakes its watches.
func (s *Server) Do(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what()
	s.changed.Broadcast()
}

func resourceOf(obj runtime.Object) string {
	switch obj.(type) {
	case *corev1.Pod:
		return "pods"
	case *corev1.Service:
		return "services"
	}
	return "endpointslices"
}

// Put stores objects and tells the watches.
func (s *Server) Put(objs ...runtime.Object) {
	s.Do(func() {
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

// Remove deletes an object, as if by force.
func (s *Server) Remove(obj runtime.Object) {
	s.Do(func() {
		m, _ := meta.Accessor(obj)
		key := resourceOf(obj) + "/" + m.GetName()
		if old := s.objects[key]; old != nil {
			delete(s.objects, key)
			s.record(watch.Deleted, old.DeepCopyObject())
		}
	})
}

func (s *Server) record(kind watch.EventType, obj runtime.Object) {
	s.version++
	m, _ := meta.Accessor(obj)
	m.SetNamespace("default")
	m.SetResourceVersion(strconv.Itoa(s.version))
	s.history = append(s.history, change{kind, resourceOf(obj), obj, s.version})
}

// Bookmark sends one to every watch.
func (s *Server) Bookmark() {
	s.Do(func() {
		s.version++
		for _, obj := range []runtime.Object{&corev1.Pod{}, &discoveryv1.EndpointSlice{}} {
			m, _ := meta.Accessor(obj)
			m.SetResourceVersion(strconv.Itoa(s.version))
			s.history = append(s.history, change{watch.Bookmark, resourceOf(obj), obj, s.version})
		}
	})
}

// Compact forgets all history: a watch must begin at the present version.
func (s *Server) Compact() {
	s.Do(func() { s.expired = s.version })
}

// BreakWatches ends all open watches.
func (s *Server) BreakWatches() {
	s.Do(func() { s.Epoch++ })
}

func parse(r *http.Request) (verb, resource, name string) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/default/")
	path = strings.TrimPrefix(path, "/apis/discovery.k8s.io/v1/namespaces/default/")
	resource, name, _ = strings.Cut(path, "/")
	switch {
	case r.Method == http.MethodPost:
		return "create", resource, ""
	case name != "":
		return "get", resource, name
	case r.URL.Query().Get("watch") == "true":
		return "watch", resource, ""
	}
	return "list", resource, ""
}

func (s *Server) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	w := counted{to, s}
	verb, resource, name := parse(r)
	s.mu.Lock()
	s.Requests = append(s.Requests, r)
	s.Agents[r.UserAgent()] = true
	delay, retryAfter, plain := max(s.Delay, s.Slow[verb+" "+resource]), s.RetryAfter, s.Plain
	code := max(s.Deny[verb+" "+resource], s.Deny[verb+" "+resource+"/"+name])
	answer := s.Answer
	hang := s.Hang && verb == "get"
	accepted := slices.Contains(s.accepted(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	s.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	if hang {
		<-r.Context().Done()
		return
	}
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return
	}
	switch {
	case r.Method != http.MethodGet && verb != "create":
		s.refuse(w, r, http.StatusMethodNotAllowed, "")
	case !accepted:
		s.refuse(w, r, http.StatusUnauthorized, "")
	case code != 0 && plain:
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, "404 page not found", code)
	case code != 0:
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		s.refuse(w, r, code, name)
	case verb == "get":
		s.mu.Lock()
		obj := s.stored(resource)[resource+"/"+name]
		s.mu.Unlock()
		if obj == nil {
			s.refuse(w, r, http.StatusNotFound, name)
			return
		}
		s.answer(w, r, http.StatusOK, obj)
	case verb == "list":
		s.serveList(w, r, resource)
	case verb == "create":
		s.serveCreate(w, r)
	default:
		s.serveWatch(w, r, resource)
	}
}

// accepted are the tokens that are.
func (s *Server) accepted() []string {
	if len(s.Tokens) == 0 {
		return []string{Token}
	}
	return s.Tokens
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code int, name string) {
	verb, resource, _ := parse(r)
	reason := map[int]metav1.StatusReason{
		401: metav1.StatusReasonUnauthorized, 403: metav1.StatusReasonForbidden,
		404: metav1.StatusReasonNotFound, 410: metav1.StatusReasonExpired,
		429: metav1.StatusReasonTooManyRequests, 500: metav1.StatusReasonInternalError,
	}[code]
	s.answer(w, r, code, &metav1.Status{
		Status: "Failure", Code: int32(code), Reason: reason, Details: &metav1.StatusDetails{Name: name, Kind: resource},
		Message: fmt.Sprintf(`%s is refused: User "system:serviceaccount:default:web" cannot %s resource %q; sent Bearer %s`,
			resource, verb, resource, Token),
	})
}

// serializer negotiates, in the client's order of preference unless JSON is wanted.
func (s *Server) serializer(r *http.Request) runtime.SerializerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := "application/json"
	if accept := r.Header.Get("Accept"); !s.JSON && strings.HasPrefix(accept, "application/vnd.kubernetes.protobuf") {
		want = "application/vnd.kubernetes.protobuf"
	}
	info, _ := runtime.SerializerInfoForMediaType(s.codecs.SupportedMediaTypes(), want)
	return info
}

// encode writes a copy of obj: while it works an encoder sets the kind in what it is given.
func (s *Server) encode(info runtime.SerializerInfo, obj runtime.Object, to io.Writer) error {
	gv := corev1.SchemeGroupVersion
	switch obj.(type) {
	case *discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList:
		gv = discoveryv1.SchemeGroupVersion
	}
	return s.codecs.EncoderForVersion(info.Serializer, gv).Encode(obj.DeepCopyObject(), to)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, code int, obj runtime.Object) {
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

func (s *Server) serveList(w http.ResponseWriter, r *http.Request, resource string) {
	query, match := r.URL.Query(), matching(r)
	s.mu.Lock()
	items := s.listed(resource, match)
	if query.Get("resourceVersion") != "" {
		items = nil
	}
	at := metav1.ListMeta{ResourceVersion: strconv.Itoa(s.at(resource))}
	from, _ := strconv.Atoi(query.Get("continue"))
	expired := from > 0 && s.ExpireNext > 0
	if expired {
		s.ExpireNext--
	}
	limit, _ := strconv.Atoi(query.Get("limit"))
	items = items[min(from, len(items)):]
	if limit > 0 && len(items) > limit {
		items = items[:limit]
		at.Continue = strconv.Itoa(from + limit)
	}
	endless := s.EndlessOf != "" && query.Get("labelSelector") == s.EndlessOf
	if s.Endless || endless {
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
	if endless {
		list.Items = full(from, limit)
	}
	s.answer(w, r, http.StatusOK, list)
}
