package cluster

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/testdata/cluster/node"
)

// onHost puts a pod into the node's network, with the app on a port of its own there. Its host name
// is the node's.
func onHost(port int32) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		spec.HostNetwork = true
		c := &spec.Containers[0]
		c.Args = append(c.Args, fmt.Sprintf("-listen=:%d", port))
		c.Ports[0].ContainerPort = port
	}
}

// named tells the pod its name by the downward API.
func named(spec *corev1.PodSpec) {
	c := &spec.Containers[0]
	c.Env = append(c.Env, corev1.EnvVar{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}})
}

// nodeTenants makes the Services that name the node's address in an ordinary cluster and are not the
// pod's: `kubernetes` has the API server without a targetRef (pkg/controlplane/reconcilers/
// endpointsadapter.go), and `kubelet`, the Prometheus Operator's, each node as such.
func (s *scene) nodeTenants() {
	s.Helper()
	yes, tcp := true, corev1.ProtocolTCP
	for name, tenant := range map[string]struct {
		port int32
		ref  *corev1.ObjectReference
	}{
		"kubernetes": {6443, nil},
		"kubelet":    {10250, &corev1.ObjectReference{Kind: "Node", Name: node.Name, UID: "0d8ec3f5-9c3f-4d2c-8f7e-6a1f0ce1b2aa"}},
	} {
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Name: "https", Port: tenant.port}}}}
		if _, err := s.client.CoreV1().Services(s.ns).Create(s.Context(), service, metav1.CreateOptions{}); err != nil {
			s.Fatal(err)
		}
		portName, port := "https", tenant.port
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{node.Address}, TargetRef: tenant.ref,
				Conditions: discoveryv1.EndpointConditions{Ready: &yes}}},
			Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &tcp}},
		}
		if _, err := s.client.DiscoveryV1().EndpointSlices(s.ns).Create(s.Context(), slice, metav1.CreateOptions{}); err != nil {
			s.Fatal(err)
		}
	}
}

// TestHostNetwork: a pod in the node's network, in a namespace whose slices name the node for other
// reasons. Neither they nor who calls the node's other listeners keeps it. Where its Service's slices
// name it, it needs not be told its name.
func TestHostNetwork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		port    int32
		exposed bool
		change  func(*corev1.PodSpec)
	}{
		{"in a Service", 18081, true, func(*corev1.PodSpec) {}},
		{"in no Service", 18082, false, named},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.nodeTenants()
			w := workload{hook: lullHook, change: func(spec *corev1.PodSpec) {
				onHost(c.port)(spec)
				c.change(spec)
			}}
			s.peer(w)
			pod := s.pod(w)
			if c.exposed {
				s.expose("web", "app")
			}
			// A scraper of the kubelet, and whoever calls the API server: not the app's clients.
			s.load("-target", node.Address+":10250", "-rate", "2")
			time.Sleep(time.Second)
			s.delete(pod)
			s.checkWindow(s.end(pod))
		})
	}
}
