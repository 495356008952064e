package kube_test

import (
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/kube"
)

// made gives a pod an age.
func made(pod *corev1.Pod, ago time.Duration) *corev1.Pod {
	pod.CreationTimestamp = metav1.NewTime(time.Now().Add(-ago))
	return pod
}

// Of the endpoints that are not ready those count as coming whose pods are young, or cannot be
// read.
func TestWatcherTellsWhoIsComing(t *testing.T) {
	for _, tt := range []struct {
		name            string
		other           *corev1.Pod
		deny            int
		coming, standBy int
	}{
		{"young", made(newPod("web-2", otherUID), time.Minute), 0, 1, 0},
		{"old", made(newPod("web-2", otherUID), time.Hour), 0, 0, 1},
		{"gone", made(newPod("web-3", otherUID), time.Hour), 0, 0, 1},
		{"another pod by now", made(newPod("web-2", thirdUID), time.Hour), 0, 1, 0},
		{"refused", made(newPod("web-2", otherUID), time.Hour), http.StatusForbidden, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			s.Put(newPod("web-1", podUID), tt.other, newSlice("web-1", "web",
				endpointOf(podUID, "10.0.0.7", "nyy"), named(endpointOf(otherUID, "10.0.0.8", "nnn"), "web-2")))
			w := watching(t, s.Config(), me, kube.Options{})
			v := await(t, w, "known", known)
			if v.Services[0].Coming != 1 || v.Services[0].StandBy != 0 || s.Asked("get", "pods/web-2") != 0 {
				t.Errorf("before the pod is deleted: %+v, asked %d times", v.Services[0], s.Asked("get", "pods/web-2"))
			}
			if tt.deny != 0 {
				s.Do(func() { s.Deny["get pods/web-2"] = tt.deny })
			}
			s.Put(deleting(newPod("web-1", podUID), 45))
			eventually(t, "asked for the other", func() bool { return s.Asked("get", "pods/web-2") > 0 })
			v = await(t, w, "told", func(v kube.View) bool {
				return v.Deleting && v.Services[0].Coming == tt.coming && v.Services[0].StandBy == tt.standBy
			})
			if v.Err != nil {
				t.Errorf("told as a failure: %v", v.Err)
			}
			time.Sleep(100 * time.Millisecond) // whoever asks all the time asks now
			if n := s.Asked("get", "pods/web-2"); n != 1 {
				t.Errorf("asked %d times", n)
			}
			s.Put(newSlice("web-1", "web",
				endpointOf(podUID, "10.0.0.7", "nyy"), named(endpointOf(otherUID, "10.0.0.8", "yyn"), "web-2")))
			await(t, w, "ready after all", func(v kube.View) bool { return v.Services[0].Ready == 1 && v.Services[0].StandBy == 0 })
		})
	}
}

// Whether a Service keeps traffic on the node is told where it may be read; that it may not is no
// failure.
func TestWatcherReadsTrafficPolicies(t *testing.T) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	service := func(spec corev1.ServiceSpec) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: spec}
	}
	for _, tt := range []struct {
		name           string
		service        *corev1.Service
		deny           int
		local, unknown bool
	}{
		{"cluster", service(corev1.ServiceSpec{ClusterIP: "10.96.0.9"}), 0, false, false},
		{"internal", service(corev1.ServiceSpec{ClusterIP: "10.96.0.9", InternalTrafficPolicy: &local}), 0, true, false},
		{"external", service(corev1.ServiceSpec{ClusterIP: "10.96.0.9", ExternalTrafficPolicy: "Local"}), 0, false, false},
		{"headless", service(corev1.ServiceSpec{ClusterIP: "None", InternalTrafficPolicy: &local}), 0, false, false},
		{"no such Service", nil, 0, false, false},
		{"refused", service(corev1.ServiceSpec{InternalTrafficPolicy: &local}), http.StatusForbidden, false, true},
		{"failing", service(corev1.ServiceSpec{InternalTrafficPolicy: &local}), http.StatusInternalServerError, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			if tt.deny != 0 {
				s.Deny["get services"] = tt.deny
			}
			if tt.service != nil {
				s.Put(tt.service)
			}
			pod := newPod("web-1", podUID)
			pod.Spec.NodeName = "here"
			mine, other := endpointOf(podUID, "10.0.0.7", "yyn"), endpointOf(otherUID, "10.0.0.8", "yyn")
			mine.NodeName, other.NodeName = ptr("here"), ptr("there")
			s.Put(pod, newSlice("web-1", "web", mine, other))
			w := watching(t, s.Config(), me, kube.Options{})
			await(t, w, "known", known)
			eventually(t, "the Service asked for", func() bool { return s.Asked("get", "services/web") > 0 })
			v := await(t, w, "told", func(v kube.View) bool {
				return v.Services[0].Local == tt.local && v.Services[0].LocalUnknown == tt.unknown
			})
			want := 1
			if tt.local {
				want = 0
			}
			if v.Services[0].Ready != want || v.Err != nil {
				t.Errorf("%+v, err %v", v.Services[0], v.Err)
			}
			time.Sleep(100 * time.Millisecond) // whoever asks all the time asks now
			if n := s.Asked("get", "services/web"); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// The right to read Services may be granted yet, and an API server that is just starting refuses
// everything.
func TestWatcherAsksForTrafficPoliciesAgain(t *testing.T) {
	long(t, "the pause after a refusal")
	t.Parallel()
	local := corev1.ServiceInternalTrafficPolicyLocal
	s := newAPIServer(t)
	s.Deny["get services"] = http.StatusForbidden
	mine, other := endpointOf(podUID, "10.0.0.7", "yyn"), endpointOf(otherUID, "10.0.0.8", "yyn")
	mine.NodeName, other.NodeName = ptr("here"), ptr("there")
	pod := newPod("web-1", podUID)
	pod.Spec.NodeName = "here"
	s.Put(pod, newSlice("web-1", "web", mine, other),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.9", InternalTrafficPolicy: &local}})
	w := watching(t, s.Config(), me, kube.Options{})
	eventually(t, "the Service asked for", func() bool { return s.Asked("get", "services/web") > 0 })
	s.Do(func() { delete(s.Deny, "get services") })
	await(t, w, "told", func(v kube.View) bool { return len(v.Services) == 1 && v.Services[0].Local })
}
