package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"lull/testdata/cluster/node"
)

// TestEvents: the Events on a pod say how its hook went, where lull may create them. A budget that
// ran out leaves one beside the kubelet's own, by which it is told from a hook that is broken.
func TestEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		hook  hook
		rules string // a JSON patch of the Role
		want  []string
	}{
		{"drained", lullHook, mayCreateEvents, []string{"Normal Draining", "Normal Drained"}},
		{"timed out", lull("--timeout=3s"), mayCreateEvents, []string{"Normal Draining", "Warning DrainTimedOut", "Warning FailedPreStopHook"}},
		{"blind", lullHook, `{"op": "remove", "path": "/rules/1"}, ` + mayCreateEvents, []string{"Normal Draining", "Warning DrainBlind"}},
		{"off", lull("--events=off"), mayCreateEvents, nil},
		{"not allowed", lullHook, `{"op": "remove", "path": "/rules/2"}`, nil},
		{"broken", hook{name: "broken", command: []string{"/nowhere"}}, mayCreateEvents, []string{"Warning FailedPreStopHook"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			_, err := s.client.RbacV1().Roles(s.ns).Patch(t.Context(), "lull-default", types.JSONPatchType, []byte("["+c.rules+"]"), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			pod := s.pod(workload{hook: c.hook})
			s.expose("web", "app")
			s.delete(pod)
			s.waitGone(time.Minute, pod)
			told := s.endEvents(pod)
			var got []string
			for _, e := range told {
				t.Logf("%s %s %s: %s", e.Type, e.Reason, e.Source.Component, e.Message)
				got = append(got, e.Type+" "+e.Reason)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

const mayCreateEvents = `{"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}}`

// endEvents are lull's Events about a pod, and the kubelet's about its hook, oldest first.
func (s *scene) endEvents(pod string) (events []corev1.Event) {
	s.Helper()
	about := fields.Set{"involvedObject.kind": "Pod", "involvedObject.name": pod}.String()
	list, err := s.client.CoreV1().Events(s.ns).List(s.Context(), metav1.ListOptions{FieldSelector: about})
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Source.Component == "lull" || e.Reason == "FailedPreStopHook" {
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return events
}

// TestDebugContainer: `kubectl debug POD --image=IMAGE --target=app -- /lull watch` shows who calls a
// pod that has no lull, and which of it are probes, without a right and without a restart.
func TestDebugContainer(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pod := s.pod(workload{hook: noHook, change: func(spec *corev1.PodSpec) { spec.AutomountServiceAccountToken = new(bool) }})
	address := s.expose("web", "app")
	p, err := s.client.CoreV1().Pods(s.ns).Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		TargetContainerName: "app",
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debugger", Image: node.AppImage, ImagePullPolicy: corev1.PullNever, Command: []string{"/lull", "watch", "--format=json"},
		},
	}}
	if _, err := s.client.CoreV1().Pods(s.ns).UpdateEphemeralContainers(t.Context(), pod, p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	load := s.load("-target", address, "-from", node.Clients, "-rate", "5")
	var text string
	defer func() {
		lines := strings.Split(text, "\n")
		t.Log("\n" + strings.Join(lines[:min(len(lines), 12)], "\n"))
	}()
	// kube-proxy gives the clients the node's address, which is the probes', too.
	arrival := func(whose string) func() error {
		return func() error {
			raw, err := s.client.CoreV1().Pods(s.ns).GetLogs(pod, &corev1.PodLogOptions{Container: "debugger"}).DoRaw(t.Context())
			text = string(raw)
			if err == nil && !strings.Contains(text, fmt.Sprintf(`"whose":%q`, whose)) {
				err = fmt.Errorf("no arrival of a %s", whose)
			}
			return err
		}
	}
	s.until(time.Minute, "a client in the debugger's log", arrival("client"))
	if _, err := load.Stop(); err != nil {
		t.Error(err)
	}
	s.until(time.Minute, "a probe in the debugger's log", arrival("probe"))
}
