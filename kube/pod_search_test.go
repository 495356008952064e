package kube_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"lull/kube"
)

// gone is the View of a pod that was deleted by force.
func gone(w *kube.Watcher) func(kube.View) bool {
	return func(v kube.View) bool { return w.Facts().Gone && v.Deleting && v.PodKnown && v.Grace == time.Second }
}

// TestWatcherFindsThePod: which pod is meant, when what the container knows of itself and what the
// API holds do not meet at once.
func TestWatcherFindsThePod(t *testing.T) {
	t.Parallel()
	static := newPod("etcd-node-1", thirdUID)
	static.Annotations = map[string]string{"kubernetes.io/config.hash": staticHash}
	addr := []netip.Addr{netip.MustParseAddr("10.0.0.7")}
	elsewhere := []netip.Addr{netip.MustParseAddr("10.9.9.9")}
	crowd := func(n int) (pods []*corev1.Pod) {
		for i := range n {
			pods = append(pods, newPod(fmt.Sprintf("crowd-%03d", i), fmt.Sprintf("%s%03d", otherUID[:33], i)))
		}
		return pods
	}
	for _, tt := range []struct {
		name string
		pods []*corev1.Pod
		id   kube.Identity
		ok   func(kube.View) bool
		pod  string
		err  string
	}{
		{name: "by name and uid", pods: []*corev1.Pod{newPod("web-1", podUID)},
			id: kube.Identity{Name: "web-1", UID: podUID}, ok: known, pod: "web-1"},
		{name: "by name alone", pods: []*corev1.Pod{newPod("web-1", podUID)},
			id: kube.Identity{Name: "web-1"}, ok: known, pod: "web-1"},
		{name: "by name and address", pods: []*corev1.Pod{newPod("web-1", podUID)},
			id: kube.Identity{Name: "web-1", IPs: addr}, ok: known, pod: "web-1"},
		{name: "by uid alone", pods: append(crowd(120), newPod("web-1", podUID)),
			id: kube.Identity{UID: podUID}, ok: known, pod: "web-1"},
		{name: "custom host name", pods: append(crowd(120), newPod("web-1", podUID)),
			id: kube.Identity{Name: "shop.example.com", UID: podUID}, ok: known, pod: "web-1"},
		{name: "host name that is another pod's name", pods: []*corev1.Pod{newPod("custom", otherUID), newPod("web-1", podUID)},
			id: kube.Identity{Name: "custom", UID: podUID}, ok: known, pod: "web-1"},
		{name: "static pod", pods: []*corev1.Pod{newPod("web-1", podUID), static},
			id: kube.Identity{Name: "node-1", UID: staticHash}, ok: known, pod: "etcd-node-1"},
		{name: "static pod by name", pods: []*corev1.Pod{static},
			id: kube.Identity{Name: "etcd-node-1", UID: staticHash}, ok: known, pod: "etcd-node-1"},
		{name: "of another namespace", pods: crowd(3), id: kube.Identity{Name: "web-1", UID: staticHash},
			err: "no pod in namespace default has UID " + staticHash + ": check POD_NAMESPACE and POD_UID"},
		{name: "of a virtual cluster, by the mount's UID", pods: []*corev1.Pod{newPod("web-1", otherUID)},
			id: kube.Identity{Name: "web-1", UID: podUID, From: []string{"name from the host name", "uid from the /etc/hosts mount"}},
			err: "pod web-1 of namespace default has another UID than " + podUID + " (from the /etc/hosts mount): " +
				"if it is this pod, as in a virtual cluster, set POD_UID by the downward API"},
		{name: "of another namespace, by the mount's UID", pods: crowd(3),
			id:  kube.Identity{Name: "web-1", UID: podUID, From: []string{"uid from the /etc/hosts mount"}},
			err: "no pod in namespace default has UID " + podUID + " (from the /etc/hosts mount): check POD_NAMESPACE"},
		{name: "by a wrong POD_UID", pods: crowd(3), id: kube.Identity{Name: "web-1", UID: podUID, From: []string{"uid from POD_UID"}},
			err: "no pod in namespace default has UID " + podUID + " (from POD_UID): check POD_NAMESPACE and POD_UID"},
		{name: "replaced under its name before we looked", pods: []*corev1.Pod{newPod("web-1", otherUID)},
			id:  kube.Identity{Name: "web-1", UID: podUID},
			err: "no pod in namespace default has UID " + podUID + ": check POD_NAMESPACE and POD_UID"},
		{name: "nobody of that name", pods: crowd(3), id: kube.Identity{Name: "web-1"},
			err: "pod web-1 not found in namespace default: set POD_NAME, or POD_UID, by the downward API"},
		{name: "another's name, by its address", pods: []*corev1.Pod{newPod("web-1", podUID)},
			id:  kube.Identity{Name: "web-1", IPs: elsewhere},
			err: "pod web-1 not found in namespace default: set POD_NAME, or POD_UID, by the downward API"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			for _, p := range tt.pods {
				s.Put(p)
			}
			s.Put(newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn"), endpointOf(thirdUID, "10.0.0.9", "yyn")))
			tt.id.Namespace = "default"
			w := watching(t, s.Config(), tt.id, kube.Options{})
			if tt.err != "" {
				v := await(t, w, "refused", func(v kube.View) bool { return v.Refused })
				if v.Err.Error() != tt.err || known(v) || v.PodKnown || v.Deleting {
					t.Errorf("%+v", v)
				}
				return
			}
			v := await(t, w, "found", func(v kube.View) bool { return known(v) && tt.ok(v) })
			if name := w.Facts().Name; name != tt.pod || v.Err != nil {
				t.Errorf("name %q, err %v", name, v.Err)
			}
			if tt.pod != "" && (len(v.Services) != 1 || !v.Services[0].InRotation || v.Services[0].Ready != 1) {
				t.Errorf("services %+v", v.Services)
			}
		})
	}
}

// The pod appears late, as a mirror pod does.
func TestWatcherFindsThePodLater(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	w := watching(t, s.Config(), kube.Identity{Namespace: "default", Name: "web-1"}, kube.Options{})
	await(t, w, "refused", func(v kube.View) bool { return v.Refused })
	s.Put(newPod("web-1", podUID), newSlice("web-1", "web", endpointOf(podUID, "10.0.0.7", "yyn")))
	v := await(t, w, "in rotation", inRotation(true))
	if v.Err != nil || v.Refused {
		t.Errorf("refused %v: %v", v.Refused, v.Err)
	}
}

// A pod whose name passes to another, as a StatefulSet's does after a forced deletion, is gone; the
// other's life is not ours.
func TestWatcherTellsAReplacementApart(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		t.Run(map[bool]string{true: "told of the deletion", false: "not told"}[told], func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			pod := newPod("db-0", podUID)
			s.Put(pod, newSlice("db-1", "db", endpointOf(podUID, "10.0.0.7", "yyn")))
			w := watching(t, s.Config(), kube.Identity{Namespace: "default", Name: "db-0"}, kube.Options{})
			await(t, w, "known", known)
			if !told {
				s.Do(func() { s.Deny["get pods"] = http.StatusInternalServerError })
			}
			s.Remove(pod)
			if told {
				await(t, w, "gone", gone(w))
			}
			next := newPod("db-0", otherUID)
			next.Spec.TerminationGracePeriodSeconds = ptr(int64(99))
			s.Put(next, newSlice("db-1", "db", endpointOf(otherUID, "10.0.0.8", "yyn")))
			s.Do(func() { clear(s.Deny) })
			v := await(t, w, "gone", func(v kube.View) bool { return gone(w)(v) && !v.Services[0].InRotation })
			if f := w.Facts(); f.UID != podUID || f.SpecGrace != 45*time.Second || v.Services[0].Ready != 1 {
				t.Errorf("%+v %+v", f, v)
			}
		})
	}
}

// Without the right to list pods, a pod with a host name of its own is found by the name that a
// slice gives it, and else the cure is told.
func TestWatcherFindsThePodWithoutListing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		slice discoveryv1.Endpoint
		err   string
	}{
		{"named by a slice", named(endpointOf(podUID, "10.0.0.7", "yyn"), "web-1"), ""},
		{"in no slice", endpointOf(otherUID, "10.0.0.8", "yyn"),
			"pod shop.example.com not found in namespace default, and without permission to list pods it cannot be searched for by its UID: set POD_NAME by the downward API"},
		{"named by no name", named(endpointOf(podUID, "10.0.0.7", "yyn"), "../secrets"),
			"pod shop.example.com not found in namespace default, and without permission to list pods it cannot be searched for by its UID: set POD_NAME by the downward API"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			s.Deny["list pods"] = http.StatusForbidden
			s.Put(newPod("web-1", podUID), newSlice("web-1", "web", tt.slice))
			w, err := kube.NewWatcher(s.Config(), kube.Identity{Namespace: "default", Name: "shop.example.com", UID: podUID}, kube.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			run(t, w)
			v := await(t, w, "found, or not", func(v kube.View) bool {
				if v.Err != nil {
					told = append(told, v.Err.Error())
				}
				return v.PodKnown && v.SlicesKnown || v.SlicesRefused || v.Err != nil
			})
			if tt.err == "" {
				if !known(v) || len(told) > 0 || w.Facts().Name != "web-1" || !v.Services[0].InRotation {
					t.Errorf("%+v, told %q", v, told)
				}
				return
			}
			if v.Err == nil || v.Err.Error() != tt.err || !v.Refused || v.PodKnown {
				t.Errorf("%+v", v)
			}
		})
	}
}

// named gives the endpoint's pod a name.
func named(e discoveryv1.Endpoint, pod string) discoveryv1.Endpoint {
	e.TargetRef.Name = pod
	return e
}

// A static pod's mirror is deleted and made anew: the pod lives on.
func TestWatcherFollowsAMirrorPod(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	mirror := func(uid string) *corev1.Pod {
		p := newPod("etcd-node-1", uid)
		p.Annotations = map[string]string{"kubernetes.io/config.hash": staticHash}
		return p
	}
	s.Put(mirror(podUID), newSlice("etcd", "etcd", endpointOf(podUID, "10.0.0.7", "yyn"), endpointOf(otherUID, "10.0.0.7", "nnn")))
	w := watching(t, s.Config(), kube.Identity{Namespace: "default", Name: "etcd-node-1", UID: staticHash}, kube.Options{})
	await(t, w, "in rotation", inRotation(true))
	s.Remove(mirror(podUID))
	await(t, w, "gone", gone(w))
	s.Put(mirror(otherUID))
	await(t, w, "back, by its new UID", func(v kube.View) bool {
		return known(v) && !w.Facts().Gone && w.Facts().UID == otherUID && len(v.Services) == 1 && !v.Services[0].InRotation
	})
}
