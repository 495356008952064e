package main

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// The plan has all that the hook waits for, and what it becomes.
func TestCheckPlan(t *testing.T) {
	t.Parallel()
	hostNetwork := func(c *testCluster) {
		c.pod().Spec.HostNetwork, c.app().Ports, c.slices = true, nil, nil
	}
	for _, tt := range []struct {
		name string
		make func(*testCluster)
		hook string
		code int
		want string
	}{
		{"as it comes", nil, "/lull", 0,
			"plan: hold SIGTERM until the pod is out of rotation and nothing has arrived for 5s, for 20s at most"},
		{"everything", nil, "/lull --min=8s --drain=HUP --max-open=0 -- nginx -s quit", 0,
			"plan: hold SIGTERM until the pod is out of rotation, the app was asked to let its clients go, nothing has arrived for 5s, " +
				"8s have passed since it left and the open connections are at most 0, for 20s at most, and then run nginx"},
		{"what only the pod can tell", nil, "/lull --drain=HUP -- nginx -s quit", 0,
			"drain: not looked at: whether the app takes --drain can be checked only in the pod"},
		{"what only the pod can tell, too", nil, "/lull -- nginx -s quit", 0,
			"command: not looked at: whether nginx can be run can be checked only in the pod"},
		{"no time", nil, "/lull --min=40s -- nginx", 1,
			"plan: hold SIGTERM for 24s, which is too short for the 40s that it takes at least, and then run nginx"},
		{"slices that nobody promises to keep", func(c *testCluster) {
			c.slice().Labels[discoveryv1.LabelManagedBy] = "somebody"
		}, "/lull", 0,
			"plan: hold SIGTERM until the pod is out of rotation, nothing has arrived for 5s and 10s have passed in all, for 20s at most"},
		{"no time for those", func(c *testCluster) {
			c.slice().Labels[discoveryv1.LabelManagedBy], c.pod().Spec.TerminationGracePeriodSeconds = "somebody", new(int64(10))
		}, "/lull", 1,
			"lacks: time: at least 10s of waiting do not fit into the budget of 8s: raise terminationGracePeriodSeconds"},
		{"the node's network, and no port", hostNetwork, "/lull", 1,
			"plan: hold SIGTERM until the pod is out of rotation and 15s have passed, in which nothing is looked at, for 20s at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster()
			c.app().Lifecycle.PreStop = execHook(strings.Fields(tt.hook)...)
			if tt.make != nil {
				tt.make(c)
			}
			if rows, code := checkRows(t, c); code != tt.code || !slices.Contains(rows, tt.want) {
				t.Errorf("exit code %d, want %d and %q\n%s", code, tt.code, tt.want, strings.Join(rows, "\n"))
			}
		})
	}
}

// In the pod, too, the node's listening sockets are not told as the pod's.
func TestCheckNodesSockets(t *testing.T) {
	t.Parallel()
	c := newTestCluster()
	c.pod().Spec.HostNetwork, c.app().Ports, c.slices = true, nil, nil
	c.app().ReadinessProbe.HTTPGet = nil
	c.app().ReadinessProbe.Exec = &corev1.ExecAction{Command: []string{"true"}}
	env := []string{"KUBERNETES_SERVICE_HOST=127.0.0.1", "POD_NAME=web-0"}
	stdout, _, code := lull(t, env, "check", "--kubeconfig", c.serve(t), "--pod", "web-0")
	if code != 1 || !strings.Contains(stdout, "so the hook sleeps for 15s instead") || strings.Contains(stdout, "listening") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}
