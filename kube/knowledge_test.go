package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// What has begun goes on, and after the end there is no coming back.
func TestSawPod(t *testing.T) {
	state := func(version string, deleting bool) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", UID: types.UID(mine), ResourceVersion: version}}
		if deleting {
			p.DeletionTimestamp = &metav1.Time{}
		}
		return p
	}
	k := newKnowledge(Identity{Namespace: "default", Name: "web-1", UID: mine}, nil)
	steps := []struct {
		do             func()
		deleting, gone bool
	}{
		{func() { k.sawPod(state("99", false)) }, false, false},
		{func() { k.sawPod(state("100", true)) }, true, false},
		{func() { k.sawPod(state("100", true)) }, true, false},
		{func() { k.lostPod() }, true, true},
		{func() { k.sawPod(state("101", true)) }, true, true},
	}
	for i, s := range steps {
		s.do()
		if v := k.view(); v.Deleting != s.deleting || k.gone != s.gone {
			t.Errorf("step %d: deleting %v, gone %v", i, v.Deleting, k.gone)
		}
	}
}

// An API server that starts knows no roles yet and forbids everything: what has worked will work
// again. What never has is refused.
func TestRefusalAfterSuccess(t *testing.T) {
	k := newKnowledge(Identity{Namespace: "default", Name: "web-1", UID: mine}, nil)
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	get, list := op{"get", podResource}, op{"list", sliceResource}
	k.recordSuccess(get)
	k.recordFailure(get, forbidden)
	if v := k.view(); v.Err == nil || v.Refused {
		t.Errorf("after success: refused %v, %v", v.Refused, v.Err)
	}
	k.recordFailure(list, forbidden)
	k.recordFailure(get, forbidden)
	if v := k.view(); !v.Refused || !strings.Contains(v.Err.Error(), "list endpointslices") {
		t.Errorf("never a success: refused %v, %v", v.Refused, v.Err)
	}
	if v := k.view(); !v.SlicesRefused {
		t.Error("the slices are not said to be refused")
	}
	k.recordSuccess(list)
	k.recordSuccess(get)
	if v := k.view(); v.SlicesRefused || v.Err != nil || v.Refused {
		t.Errorf("well again: refused %v, %v", v.Refused, v.Err)
	}
}

// A refusal of the pod says nothing of the slices, as long as it is known whom to look for in them.
func TestRefusalOfThePod(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	for uid, want := range map[string]bool{mine: false, "": true} {
		k := newKnowledge(Identity{Namespace: "default", Name: "web-1", UID: uid}, nil)
		k.recordFailure(op{"get", podResource}, forbidden)
		if v := k.view(); !v.Refused || v.SlicesRefused != want {
			t.Errorf("uid %q: refused %v, slices refused %v, want %v", uid, v.Refused, v.SlicesRefused, want)
		}
	}
}
