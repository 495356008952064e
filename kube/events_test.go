package kube_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"lull/kube"
	"lull/testdata/apiserver"
)

func TestRecord(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	w := watching(t, s.Config(), me, kube.Options{})
	await(t, w, "known", known)
	for _, e := range []kube.Event{{"Drained", "quiet for 5s", false}, {"DrainTimedOut", strings.Repeat("é", 900), true}} {
		if err := w.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Events()
	if len(got) != 2 || got[0].Name == got[1].Name {
		t.Fatalf("%v", got)
	}
	e := got[0]
	pod := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "default", Name: w.Facts().Name, UID: e.InvolvedObject.UID}
	if e.InvolvedObject != pod || string(e.InvolvedObject.UID) != w.Facts().UID {
		t.Errorf("about %+v", e.InvolvedObject)
	}
	if e.Reason != "Drained" || e.Message != "quiet for 5s" || e.Type != corev1.EventTypeNormal || e.Count != 1 {
		t.Errorf("%+v", e)
	}
	if e.Source.Component != "lull" || e.ReportingController != "lull" || e.ReportingInstance == "" {
		t.Errorf("from %+v, %q, %q", e.Source, e.ReportingController, e.ReportingInstance)
	}
	if age := time.Since(e.LastTimestamp.Time); age > 10*time.Second || !e.FirstTimestamp.Equal(&e.LastTimestamp) {
		t.Errorf("at %v, %v", e.FirstTimestamp, e.LastTimestamp)
	}
	if got[1].Type != corev1.EventTypeWarning || len(got[1].Message) > 1024 || !strings.HasPrefix(got[1].Message, "éé") {
		t.Errorf("%q, %d bytes", got[1].Type, len(got[1].Message))
	}
}

// What comes of an Event changes nothing in the view.
func TestRecordRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		wrong func(*apiserver.Server)
		want  string
	}{
		{"forbidden", func(s *apiserver.Server) { s.Deny["create events"] = 403 }, "no permission to create events in namespace default: grant it to service account default/web"},
		{"in trouble", func(s *apiserver.Server) { s.Deny["create events"] = 500 }, "cannot create events"},
		{"silent", func(s *apiserver.Server) { s.Slow = map[string]time.Duration{"create events": time.Minute} }, "no answer from the API server in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, flip := rotating(t)
			s.Do(func() { tt.wrong(s) })
			flip(false)
			w := watching(t, s.Config(), me, kube.Options{})
			await(t, w, "known", known)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := w.Record(ctx, kube.Event{Reason: "Drained"})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), apiserver.Token) {
				t.Errorf("%v", err)
			}
			if v, _ := w.View(); v.Err != nil || v.Refused {
				t.Errorf("%+v", v)
			}
		})
	}
}

// The Event must be found by the pod's UID.
func TestRecordNeedsThePod(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	w := watching(t, s.Config(), kube.Identity{Namespace: "default", Name: "nobody"}, kube.Options{})
	if err := w.Record(t.Context(), kube.Event{Reason: "Drained"}); err == nil || len(s.Events()) != 0 {
		t.Errorf("%v, %v", err, s.Events())
	}
}

// An API server that does not answer this owes nothing.
func TestRecordOwesNothing(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	s.Do(func() { s.Slow = map[string]time.Duration{"create events": time.Minute} })
	w, err := kube.NewWatcher(s.Config(), me, kube.Options{}) // asks nothing else, as it does not run
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = w.Record(t.Context(), kube.Event{Reason: "Drained"}) }()
	eventually(t, "asked", func() bool { return s.Asked("create", "events") == 1 })
	if v, _ := w.View(); !v.Asked.IsZero() {
		t.Errorf("asked since %v", v.Asked)
	}
}
