package kube

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestStandsBy(t *testing.T) {
	deleted := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) // long ago: this machine's clock plays no part
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(deleted.Add(-d)) }
	unready := func(since time.Duration) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: ago(0)},
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: ago(since)},
		}}
	}
	crashing := func(restarts int32, waiting string, last time.Duration) []corev1.ContainerStatus {
		c := corev1.ContainerStatus{RestartCount: restarts}
		if waiting != "" {
			c.State.Waiting = &corev1.ContainerStateWaiting{Reason: waiting}
		}
		if last != 0 {
			c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{FinishedAt: ago(last)}
		}
		return []corev1.ContainerStatus{{Ready: true, RestartCount: 99}, c}
	}
	for _, tt := range []struct {
		name   string
		age    time.Duration
		status corev1.PodStatus
		going  bool
		want   prospect
	}{
		{name: "made after the deletion", age: -2 * time.Second, status: unready(-2 * time.Second)},
		{name: "young", age: 9 * time.Minute, status: unready(9 * time.Minute)},
		{name: "waits to be the leader", age: 48 * time.Hour, status: unready(48 * time.Hour), want: steady},
		{name: "was ready until lately", age: 48 * time.Hour, status: unready(time.Minute)},
		{name: "was ready long ago", age: 48 * time.Hour, status: unready(time.Hour), want: steady},
		{name: "no conditions, old", age: time.Hour, want: failing},
		{name: "no conditions, young", age: time.Minute},
		{name: "no time at all"},
		{name: "being deleted itself", age: time.Minute, status: unready(time.Minute), going: true, want: failing},
		{name: "has ended", age: time.Minute, status: corev1.PodStatus{Phase: corev1.PodFailed}, want: failing},
		{name: "crash loop", age: time.Hour, status: corev1.PodStatus{ContainerStatuses: crashing(7, "CrashLoopBackOff", 4*time.Minute)}, want: failing},
		{name: "young crash loop", age: 2 * time.Minute, status: corev1.PodStatus{ContainerStatuses: crashing(3, "CrashLoopBackOff", 20*time.Second)}, want: failing},
		{name: "crash loop, running for the moment", age: 2 * time.Minute, status: corev1.PodStatus{ContainerStatuses: crashing(5, "", 20*time.Second)}, want: failing},
		{name: "crash loop of a sidecar", age: 2 * time.Minute, status: corev1.PodStatus{InitContainerStatuses: crashing(5, "CrashLoopBackOff", 20*time.Second)}, want: failing},
		{name: "failed twice so far", age: 2 * time.Minute, status: corev1.PodStatus{ContainerStatuses: crashing(2, "CrashLoopBackOff", 20*time.Second)}},
		{name: "failed often, long ago", age: 5 * time.Minute, status: corev1.PodStatus{ContainerStatuses: crashing(5, "", time.Hour)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{Status: tt.status}
			if tt.age != 0 {
				pod.CreationTimestamp = ago(tt.age)
			}
			if tt.going {
				now := ago(0)
				pod.DeletionTimestamp = &now
			}
			if got := prospectOf(pod, deleted); got != tt.want {
				t.Errorf("prospect %v, want %v", got, tt.want)
			}
		})
	}
}

// Pods are read only while it matters, and only a few.
func TestToJudge(t *testing.T) {
	now := time.Now()
	k := newKnowledge(Identity{Namespace: "default", Name: "web-1", UID: mine}, nil)
	slice := func(others ...discoveryv1.Endpoint) {
		s := es(v4, append([]discoveryv1.Endpoint{ep(mine, my4, "nyy")}, others...)...)
		s.Name = "web-1"
		for i := range s.Endpoints {
			if r := s.Endpoints[i].TargetRef; r != nil {
				r.Name = "pod-" + string(r.UID[:1])
			}
		}
		k.sawList(s)
	}
	expect := func(what string, want int) {
		t.Helper()
		k.view()
		if got := k.toAssess(now); len(got) != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	slice(ep(a, "10.0.0.8", "nnn"), ep("", "10.0.0.10", "nnn"))
	expect("the pod is not known", 0)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", UID: types.UID(mine)}}
	k.sawPod(pod)
	expect("it is not being deleted", 0)
	pod.DeletionTimestamp = &metav1.Time{Time: now}
	k.sawPod(pod)
	expect("one to look at", 1)
	k.assessed[a] = assessment{starting, now}
	expect("it has been looked at", 0)
	k.assessed[a] = assessment{starting, now.Add(-assessAgain)}
	expect("some time ago", 1)
	k.assessed[a] = assessment{steady, now.Add(-assessAgain)}
	expect("it stands by", 0)
	if s := k.view().Services[0]; s.StandBy != 1 || s.Steady != 1 || s.Coming != 1 {
		t.Errorf("%+v", s)
	}
	slice(ep(a, "10.0.0.8", "yyn"), ep(b, "10.0.0.9", "nnn"))
	expect("another is ready", 0)
	slice(ep(a, "10.0.0.8", "nnn"))
	expect("it was ready, and is not now", 1)
	slice(ep(a, "10.0.0.8", "nny"))
	expect("it is leaving", 0)
	var many []discoveryv1.Endpoint
	for i := range 30 {
		many = append(many, ep(string(rune('a'+i))+a[1:], "10.0.0.8", "nnn"))
	}
	slice(many...)
	expect("a crowd", assessMost)
	for i, ref := range k.toAssess(now) {
		k.assessed[ref.uid] = assessment{prospect(i % 2), now}
	}
	expect("a crowd of which as many have been looked at as may be", 0)
	now = now.Add(assessAgain)
	expect("some time later, those again that did not stand by", assessMost/2)
}
