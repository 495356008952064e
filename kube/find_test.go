package kube_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"lull/kube"
	"lull/testdata/apiserver"
)

func newInquirer(t *testing.T, s *apiserver.Server) *kube.Inquirer {
	i, err := kube.NewInquirer(s.Config(), "default", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// Select reads page by page, and begins anew where the list has expired in the middle.
func TestSelect(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	var want []string
	for n := range 120 {
		pod := newPod(fmt.Sprintf("web-%03d", n), fmt.Sprint(n))
		pod.Labels = map[string]string{"app": "web"}
		if n%40 == 0 {
			pod.Status.Phase = corev1.PodSucceeded // has ended
		} else {
			want = append(want, pod.Name)
		}
		s.Put(pod)
	}
	s.Put(newPod("db-0", "db"))
	s.Do(func() { s.ExpireNext = 1 })
	got, err := newInquirer(t, s).Select(t.Context(), "app=web")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: %d pods, want %d: %v", err, len(got), len(want), got)
	}
}

func TestSelectFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, selector, want string
		wrong                func(*apiserver.Server)
	}{
		{"forbidden", "app=web", "no permission to list pods in namespace default", func(s *apiserver.Server) { s.Deny["list pods"] = 403 }},
		{"nobody", "app=web", "no pod in namespace default has the labels app=web", func(*apiserver.Server) {}},
		{"no selector", "app in", `label selector "app in": `, func(*apiserver.Server) {}},
		{"endless", "", "more than 200 pods have the labels", func(s *apiserver.Server) {
			for n := range 250 {
				s.Put(newPod(fmt.Sprint("web-", n), fmt.Sprint(n)))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			tt.wrong(s)
			got, err := newInquirer(t, s).Select(t.Context(), tt.selector)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), apiserver.Token) || got != nil {
				t.Errorf("%v, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// What is no name asks nobody.
func TestFindBadNames(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	i := newInquirer(t, s)
	for _, what := range []string{"", "/", "pod/", "deploy/A", "deploy/a/b", "crontab/x", "pod/" + strings.Repeat("a", 300), "pod/a\nb"} {
		got, err := i.Find(t.Context(), what)
		if err == nil || got != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, %v", what, got, err)
		}
	}
	if requests, _ := s.Load(); requests != 0 {
		t.Errorf("%d requests for names that are none", requests)
	}
	if _, err := kube.NewInquirer(s.Config(), "a/b", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a namespace that is none")
	}
}
