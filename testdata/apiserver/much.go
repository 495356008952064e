package apiserver

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// full is a page of slices that hold as much as the endpoint controller puts into one.
func full(from, limit int) (page []discoveryv1.EndpointSlice) {
	const endpoints = 100 // --max-endpoints-per-slice
	for i := range max(limit, 1) {
		slice := discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: fmt.Sprintf("full-%d-%d", from, i), Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		node := "node"
		for j := range endpoints {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{fmt.Sprintf("10.%d.%d.%d", from%256, i%256, j)}, NodeName: &node,
				TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: fmt.Sprintf("web-5d8f9c7b6d-%05d", j), UID: uid(from, i, j)},
			})
		}
		page = append(page, slice)
	}
	return page
}

func uid(a, b, c int) types.UID {
	return types.UID(fmt.Sprintf("%08x-0000-4000-8000-%06x%06x", a, b, c))
}

// flood sends what is stored, and 10,000 events a second of so many other slices like it.
func (s *Server) flood(out *stream, r *http.Request, resource string, names int) {
	const name = "flood-00000000"
	match := matching(r)
	for sent := 0; r.Context().Err() == nil; {
		var stored [][]byte
		var other []byte
		s.mu.Lock()
		for _, obj := range s.objects {
			if resourceOf(obj) != resource || !match(obj) {
				continue
			}
			stored = append(stored, out.encode(watch.Modified, obj))
			other = out.encode(watch.Modified, likeIt(obj, name))
		}
		s.mu.Unlock()
		at := bytes.Index(other, []byte(name))
		for i := range 100 {
			event := other
			if i < len(stored) {
				event = stored[i]
			} else if at >= 0 {
				sent++
				copy(other[at:], fmt.Sprintf("flood-%08d", sent%names))
			}
			if _, err := out.frame.Write(event); err != nil {
				return
			}
		}
		out.w.(http.Flusher).Flush()
		time.Sleep(10 * time.Millisecond)
	}
}

// likeIt is a slice of the same Service by that name, with its last endpoint alone.
func likeIt(obj runtime.Object, name string) runtime.Object {
	slice := obj.DeepCopyObject().(*discoveryv1.EndpointSlice)
	slice.Name = name
	slice.Endpoints = slice.Endpoints[max(0, len(slice.Endpoints)-1):]
	return slice
}
