package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestStory: what the hook says is in `kubectl logs` of the container, for root and for another user.
func TestStory(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*corev1.PodSpec){"root": nil, "uid 65532": locked} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			pod := s.pod(workload{hook: lullHook, change: change, args: []string{"-linger=4s"}})
			s.expose("web", "app")
			s.delete(pod)
			var text string
			s.until(30*time.Second, "the story in the container's log", func() error {
				got, err := s.client.CoreV1().Pods(s.ns).GetLogs(pod, &corev1.PodLogOptions{Container: "app"}).DoRaw(t.Context())
				text = string(got)
				if err == nil && !strings.Contains(text, `"event":"end"`) {
					err = errors.New("no end of the story in: " + text)
				}
				return err
			})
			t.Log("\n" + text)
			for _, want := range []string{`"event":"identity"`, `"event":"left"`, "letting SIGTERM through after"} {
				if !strings.Contains(text, want) {
					t.Errorf("the log has no %s", want)
				}
			}
		})
	}
}
