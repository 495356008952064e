package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// testCluster is what an API server serves of a namespace named a: a Deployment, its Service, and
// their pods.
type testCluster struct {
	pods     []*corev1.Pod
	services []*corev1.Service
	slices   []*discoveryv1.EndpointSlice
	denied   map[string]bool // "create events": the service account may not, nor who asks

	mayReview map[string]bool // what the service account may although denied has it

	mu     sync.Mutex
	events []corev1.Event
}

// newTestCluster is one without a mistake: two pods that run lull, behind a Service.
func newTestCluster() *testCluster {
	c := &testCluster{denied: map[string]bool{}}
	app := map[string]string{"app": "web"}
	for i := range 2 {
		c.pods = append(c.pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "a", Name: fmt.Sprintf("web-%d", i), UID: types.UID(fmt.Sprintf("00000000-0000-0000-0000-00000000000%d", i)), Labels: app,
				OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-1", Controller: new(true)}},
			},
			Spec: corev1.PodSpec{
				ServiceAccountName: "web", TerminationGracePeriodSeconds: new(int64(30)),
				Containers: []corev1.Container{{
					Name:         "app",
					Ports:        []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
					VolumeMounts: []corev1.VolumeMount{{MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}},
					Lifecycle:    &corev1.Lifecycle{PreStop: execHook("/lull")},
					ReadinessProbe: &corev1.Probe{
						PeriodSeconds: 5, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")}},
					},
				}},
			},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, HostIPs: []corev1.HostIP{{IP: "172.16.0.1"}}, PodIPs: []corev1.PodIP{{IP: fmt.Sprintf("10.0.0.%d", i)}}},
		})
	}
	c.services = []*corev1.Service{{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"}, Spec: corev1.ServiceSpec{Selector: app}}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web-x", Labels: map[string]string{
			discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for _, p := range c.pods {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{p.Status.PodIPs[0].IP}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p.Name, UID: p.UID},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
		})
	}
	c.slices = []*discoveryv1.EndpointSlice{slice}
	return c
}

func execHook(command ...string) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: command}}
}

// serve serves the cluster over HTTPS, and returns a kubeconfig for it.
func (c *testCluster) serve(t *testing.T) (kubeconfig string) {
	mux := http.NewServeMux()
	const core, discovery = "/api/v1/namespaces/a/", "/apis/discovery.k8s.io/v1/namespaces/a/"
	mux.HandleFunc("GET "+core+"pods/{name}", func(w http.ResponseWriter, r *http.Request) { serveNamed(w, r, "v1", "Pod", c.pods) })
	mux.HandleFunc("GET "+core+"pods", func(w http.ResponseWriter, r *http.Request) { serveItems(w, r, "v1", "PodList", c.pods) })
	mux.HandleFunc("GET "+core+"services/{name}", func(w http.ResponseWriter, r *http.Request) { serveNamed(w, r, "v1", "Service", c.services) })
	mux.HandleFunc("GET "+discovery+"endpointslices", func(w http.ResponseWriter, r *http.Request) {
		serveItems(w, r, "discovery.k8s.io/v1", "EndpointSliceList", c.slices)
	})
	mux.HandleFunc("GET /apis/apps/v1/namespaces/a/deployments/web", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"kind":"Deployment","spec":{"selector":{"matchLabels":{"app":"web"}}}}`)
	})
	mux.HandleFunc("POST "+core+"events", c.serveEvent)
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", c.serveReview)
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", c.serveReview)
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"status":{"userInfo":{"username":"system:serviceaccount:a:web"}}}`)
	})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		verb := map[string]string{"GET": "list", "POST": "create"}[r.Method]
		if r.URL.Query().Has("watch") {
			verb = "watch"
		}
		parts := strings.Split(r.URL.Path, "/")
		if c.denied[verb+" "+parts[len(parts)-1]] || c.denied["get "+parts[len(parts)-2]] {
			refuseTest(w, http.StatusForbidden, metav1.StatusReasonForbidden, `User "jane" cannot`)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	text, err := json.Marshal(map[string]any{
		"current-context": "here",
		"clusters":        []any{map[string]any{"name": "c", "cluster": map[string]any{"server": s.URL, "certificate-authority-data": ca}}},
		"contexts": []any{
			map[string]any{"name": "here", "context": map[string]any{"cluster": "c", "namespace": "a"}},
			map[string]any{"name": "empty", "context": map[string]any{"cluster": "c", "namespace": "b"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

func refuseTest(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure",
		Code: int32(code), Reason: reason, Message: message, Details: &metav1.StatusDetails{Name: "it"},
	})
}

// encodeAs writes an object with its type, which typed objects leave out.
func encodeAs(w io.Writer, apiVersion, kind string, object any) {
	text, err := json.Marshal(object)
	fields := map[string]any{}
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		panic(err)
	}
	fields["apiVersion"], fields["kind"] = apiVersion, kind
	json.NewEncoder(w).Encode(fields)
}

func serveNamed[T metav1.Object](w http.ResponseWriter, r *http.Request, apiVersion, kind string, all []T) {
	i := slices.IndexFunc(all, func(o T) bool { return o.GetName() == r.PathValue("name") })
	if i < 0 {
		refuseTest(w, http.StatusNotFound, metav1.StatusReasonNotFound, "not found")
		return
	}
	encodeAs(w, apiVersion, kind, all[i])
}

// serveItems lists, or serves a watch in which nothing happens.
func serveItems[T metav1.Object](w http.ResponseWriter, r *http.Request, apiVersion, kind string, all []T) {
	if r.URL.Query().Has("watch") {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		panic(err)
	}
	items := []T{}
	for _, o := range all {
		if selector.Matches(labels.Set(o.GetLabels())) {
			items = append(items, o)
		}
	}
	encodeAs(w, apiVersion, kind, map[string]any{"metadata": map[string]any{"resourceVersion": "1"}, "items": items})
}

// eventCodecs know Events, in whatever encoding.
var eventCodecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(corev1.SchemeGroupVersion, &corev1.Event{})
	return serializer.NewCodecFactory(scheme)
}()

// serveEvent takes in what a hook sends.
func (c *testCluster) serveEvent(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var e corev1.Event
	if err == nil {
		_, _, err = eventCodecs.UniversalDeserializer().Decode(body, nil, &e)
	}
	if err != nil {
		refuseTest(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	c.mu.Lock()
	c.events = append(c.events, e)
	c.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	encodeAs(w, "v1", "Event", &e)
}

func (c *testCluster) serveReview(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Spec struct {
			User               string
			ResourceAttributes map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		panic(err)
	}
	a := review.Spec.ResourceAttributes
	right := a["verb"] + " " + a["resource"]
	allowed := !c.denied[right] || c.mayReview[right]
	if a["namespace"] != "a" || review.Spec.User != "" && review.Spec.User != "system:serviceaccount:a:web" {
		allowed = false
	}
	encodeAs(w, "authorization.k8s.io/v1", "SubjectAccessReview", map[string]any{"status": map[string]any{"allowed": allowed}})
}
