package faults

import (
	"encoding/pem"
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"lull/testdata/apiserver"
)

const (
	podName     = "web-1"
	podUID      = "0b9ffe6d-0a5b-4a52-9b0c-5d2f5a1c6f01"
	otherUID    = "5a3c1f0e-77aa-4b8e-8a52-2f9d1f7a9c02"
	credentials = "secrets/kubernetes.io/serviceaccount" // below /var/run
	grace       = 30 * time.Second
	budget      = 20 * time.Second // grace less the reserve
)

// control is a control plane in a place: an API server, and what it knows of the pod.
type control struct {
	*apiserver.Server
	place  *place
	port   int32         // of the app
	host   string        // where the pod is told that the API is
	skew   time.Duration // of its clock
	alone  bool          // the other pod is not ready yet
	before int           // the version before the deletion
	local  bool          // it is one of a DaemonSet on another node, and the Service keeps to the node
}

// newControl starts an API server with a pod that is being deleted and still in rotation, beside
// another that is ready. It ends with the test.
func newControl(t *testing.T, p *place, port int) *control {
	t.Helper()
	listener := p.listen(t, "127.0.0.1:0")
	c := &control{Server: apiserver.On(listener), place: p, port: int32(port), host: listener.Addr().String()}
	t.Cleanup(c.Close)
	c.delete()
	c.list(true)
	p.cover(t, "/var/run")
	c.credentials(t, apiserver.Token)
	return c
}

// credentials writes what the kubelet mounts into a container.
func (c *control) credentials(t *testing.T, token string) {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	c.place.write(t, "/var/run/"+credentials, map[string]string{"token": token, "ca.crt": string(ca), "namespace": "default"})
}

// environment is what the kubelet and the downward API set.
func (c *control) environment() []string {
	host, port, _ := net.SplitHostPort(c.host)
	return []string{
		"KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port,
		"POD_NAMESPACE=default", "POD_NAME=" + podName, "POD_UID=" + podUID, "POD_IP=127.0.0.1",
	}
}

// listenPort is the API server's.
func (c *control) listenPort() int { return c.Listener.Addr().(*net.TCPAddr).Port }

func (c *control) pod(uid string) *corev1.Pod {
	seconds := int64(grace / time.Second)
	owner, node := "ReplicaSet", ""
	if c.local {
		owner, node = "DaemonSet", "here"
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: podName, UID: types.UID(uid),
			OwnerReferences: []metav1.OwnerReference{{Kind: owner, Name: "web", Controller: ptr(true)}},
		},
		Spec: corev1.PodSpec{
			NodeName:                      node,
			TerminationGracePeriodSeconds: &seconds,
			Containers:                    []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: c.port}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "127.0.0.1"}}},
	}
}

// delete lets the pod be deleted.
func (c *control) delete() {
	pod := c.pod(podUID)
	pod.DeletionTimestamp = &metav1.Time{Time: time.Now().Add(grace + c.skew)}
	pod.DeletionGracePeriodSeconds = pod.Spec.TerminationGracePeriodSeconds
	c.Put(pod)
}

// list has the pod in rotation, or out.
func (c *control) list(ready bool) { c.Put(c.slice(ready, podUID)) }

func (c *control) slice(ready bool, uid string) *discoveryv1.EndpointSlice {
	endpoint := func(uid, addr string, ready bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses:  []string{addr},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr(ready), Serving: ptr(true), Terminating: ptr(!ready)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", UID: types.UID(uid)},
		}
	}
	other := endpoint(otherUID, "10.0.0.8", true)
	other.Conditions.Ready, other.Conditions.Serving = ptr(!c.alone), ptr(!c.alone)
	own := endpoint(uid, "127.0.0.1", ready)
	if c.local {
		own.NodeName, other.NodeName = ptr("here"), ptr("there")
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "web-abcde", Labels: map[string]string{
			discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{own, other},
		Ports:       []discoveryv1.EndpointPort{{Name: ptr("web"), Port: &c.port, Protocol: ptr(corev1.ProtocolTCP)}},
	}
}

// stay has the Service keep its traffic to the node, where the pod alone serves it.
func (c *control) stay() {
	c.local = true
	c.Put(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7", InternalTrafficPolicy: ptr(corev1.ServiceInternalTrafficPolicyLocal)},
	})
	c.delete()
	c.list(true)
}

// elsewhere opens another listener in the control plane's place, and tells the pod that the API is there.
func (c *control) elsewhere(t *testing.T) net.Listener {
	t.Helper()
	l := c.place.listen(t, "127.0.0.1:0")
	c.host = l.Addr().String()
	return l
}

func ptr[T any](v T) *T { return &v }
