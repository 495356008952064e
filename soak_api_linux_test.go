package main

import (
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"lull/testdata/apiserver"
)

// soakAPI is an API server that knows a pod with an app.
type soakAPI struct {
	*apiserver.Server
	port int32
}

func newSoakAPI(app net.Listener) *soakAPI {
	a := &soakAPI{apiserver.New(), int32(app.Addr().(*net.TCPAddr).Port)}
	seconds := int64(30)
	a.Put(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", UID: soakUID, DeletionTimestamp: &metav1.Time{Time: time.Now()}, DeletionGracePeriodSeconds: &seconds},
		Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: &seconds},
	})
	a.list(true)
	return a
}

const soakUID, soakOther types.UID = "0b9ffe6d-0a5b-4a52-9b0c-5d2f5a1c6f01", "5a3c1f0e-77aa-4b8e-8a52-2f9d1f7a9c02"

// list has the pod in rotation or out, beside one that is ready.
func (a *soakAPI) list(ready bool) {
	yes, out, tcp := true, !ready, corev1.ProtocolTCP
	endpoint := func(uid types.UID, addr string, ready, terminating *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses: []string{addr}, TargetRef: &corev1.ObjectReference{Kind: "Pod", UID: uid},
			Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: &yes, Terminating: terminating},
		}
	}
	no := false
	a.Put(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "web-abcde", Labels: map[string]string{
			discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{endpoint(soakUID, "10.0.0.7", &ready, &out), endpoint(soakOther, "10.0.0.8", &yes, &no)},
		Ports:       []discoveryv1.EndpointPort{{Port: &a.port, Protocol: &tcp}},
	})
}

// heal lets the server do nothing wrong any more.
func (a *soakAPI) heal() {
	a.Do(func() {
		clear(a.Deny)
		a.Plain, a.Delay, a.HalfEvent, a.Flood, a.Answer = false, 0, false, 0, nil
	})
}

// kubeconfig writes one for the server, and returns its path.
func (a *soakAPI) kubeconfig(dir string) string {
	path := filepath.Join(dir, "kubeconfig")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), ca, 0o600); err != nil {
		panic(err)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: soak
contexts: [{name: soak, context: {cluster: soak, user: soak}}]
clusters: [{name: soak, cluster: {server: %q, certificate-authority: ca.crt}}]
users: [{name: soak, user: {token: %q}}]
`, a.URL, apiserver.Token)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err)
	}
	return path
}
