package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"lull/kube"
)

// addService has another Service name the pods, which publishes them ready or not.
func (c *testCluster) addService(name string) {
	service := c.services[0].DeepCopy()
	service.Name, service.Spec.PublishNotReadyAddresses = name, true
	slice := c.slice().DeepCopy()
	slice.Name, slice.Labels[discoveryv1.LabelServiceName] = name+"-x", name
	c.services, c.slices = append(c.services, service), append(c.slices, slice)
}

// What the hook does not ask about is no finding.
func TestCheckAsksAboutTheHooksServices(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		hook []string
		env  []corev1.EnvVar
		args []string
		want []string // rows about rotation
		code int
	}{
		{name: "all", hook: []string{"/lull"}, want: []string{"peers", "publishNotReadyAddresses", "web"}},
		{name: "a flag", hook: []string{"/lull", "--service=web"}, want: []string{"web"}},
		{name: "a variable", hook: []string{"/lull"}, env: []corev1.EnvVar{{Name: "LULL_SERVICE", Value: "web"}}, want: []string{"web"}},
		{name: "the user's wins", hook: []string{"/lull", "--service=web"}, args: []string{"--service=peers"}, want: []string{"peers", "publishNotReadyAddresses"}},
		{name: "one that does not name it", hook: []string{"/lull", "--service=wed"}, want: []string{"unknown"}, code: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster()
			c.addService("peers")
			c.app().Lifecycle.PreStop = execHook(tt.hook...)
			c.app().Env = tt.env
			rows, code := checkRows(t, c, tt.args...)
			if tt.code == 1 && !slices.Contains(rows, "lacks: no EndpointSlice of Service wed names this pod: check --service") {
				t.Errorf("the wrong Service is not told:\n%s", strings.Join(rows, "\n"))
			}
			rotation := slices.DeleteFunc(slices.Clone(rows), func(row string) bool { return !strings.HasPrefix(row, "rotation: ") })
			if code != tt.code || len(rotation) != len(tt.want) {
				t.Fatalf("exit code %d, want rows about %v\n%s", code, tt.want, strings.Join(rows, "\n"))
			}
			for i, want := range tt.want {
				if !strings.Contains(rotation[i], want) {
					t.Errorf("%s\nwant %s", rotation[i], want)
				}
			}
		})
	}
}

// Lull is what is executed. As a word among others' arguments it is a word.
func TestFindLull(t *testing.T) {
	t.Parallel()
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	for _, tt := range []struct {
		command []string
		want    lullHook // zero: none
	}{
		{[]string{"/lull"}, lullHook{path: "/lull"}},
		{[]string{"lull", "wait", "--quiet=3s"}, lullHook{path: "lull", args: []string{"wait", "--quiet=3s"}}},
		{[]string{"/opt/lull/lull", "--", "/lull"}, lullHook{path: "/opt/lull/lull", args: []string{"--", "/lull"}}},
		{sh("/lull"), lullHook{path: "/lull", by: "sh"}},
		{sh("exec /lull --quiet=$Q"), lullHook{path: "/lull", args: []string{"--quiet=$Q"}, by: "sh"}},
		{[]string{"bash", "-euc", "LULL_QUIET=3s exec '/opt/lull/lull'"}, lullHook{path: "/opt/lull/lull", by: "bash"}},
		{sh("sleep 1\nif [ -x /lull ]; then /lull check; fi"), lullHook{path: "/lull", args: []string{"check"}, by: "sh"}},
		{sh("exec timeout 20 /lull"), lullHook{path: "/lull", by: "sh"}},
		{[]string{"/usr/bin/env", "LULL_QUIET=3s", "/lull"}, lullHook{path: "/lull", by: "env"}},
		{[]string{"timeout", "20", "sh", "-c", "/lull"}, lullHook{path: "/lull", by: "timeout"}},
		{[]string{"echo", "lull"}, lullHook{}},
		{[]string{"/stop", "--after", "/lull"}, lullHook{}},
		{[]string{"/lull-old"}, lullHook{}},
		{sh("echo lull"), lullHook{}},
		{sh("test -x /lull"), lullHook{}},
		{[]string{"sh", "/lull"}, lullHook{}},
		{[]string{"sh", "-c"}, lullHook{}},
		{sh(" ; exec ; "), lullHook{}},
		{nil, lullHook{}},
		{slices.Repeat([]string{"env"}, 10_000), lullHook{}}, // in no time
		{append(slices.Repeat([]string{"env"}, 10_000), "/lull"), lullHook{path: "/lull", by: "env"}},
	} {
		got, ok := findLull(kube.PreStop{Kind: "exec", Command: tt.command})
		if ok != (tt.want.path != "") || ok && (got.path != tt.want.path || got.by != tt.want.by || !slices.Equal(got.args, tt.want.args)) {
			t.Errorf("%q: %+v, %t, want %+v", tt.command, got, ok, tt.want)
		}
	}
}

// The hook's flags are those of its command line, and failing that of its container's environment.
func TestParseAlone(t *testing.T) {
	t.Setenv("LULL_QUIET", "9s") // this process's
	for _, tt := range []struct {
		name      string
		env, args []string
		want      func(waitCmd) bool
		err       string
	}{
		{"nothing", nil, nil, func(w waitCmd) bool { return w.Quiet == 5*time.Second }, ""},
		{"a variable", []string{"LULL_QUIET=3s"}, nil, func(w waitCmd) bool { return w.Quiet == 3*time.Second }, ""},
		{"one before the command", []string{"LULL_QUIET=3s"}, []string{"wait", "--min=1s"}, func(w waitCmd) bool { return w.Quiet == 3*time.Second && w.Min == time.Second }, ""},
		{"the command line wins", []string{"LULL_PORT=1,2"}, []string{"--port=3"}, func(w waitCmd) bool { return slices.Equal(w.Port, []port{{Number: 3}}) }, ""},
		{"several values", []string{"LULL_PORT=1,2"}, nil, func(w waitCmd) bool { return slices.Equal(w.Port, []port{{Number: 1}, {Number: 2}}) }, ""},
		{"a switch", []string{"LULL_DISABLED=1"}, nil, func(w waitCmd) bool { return !reflect.ValueOf(w.Disabled).IsZero() }, ""},
		{"a URL", []string{"LULL_DRAIN=http://127.0.0.1:8080/drain"}, nil, func(w waitCmd) bool { return w.Drain != nil && w.Drain.url.Port() == "8080" }, ""},
		{"the last one", []string{"LULL_QUIET=3s", "LULL_QUIET=4s"}, nil, func(w waitCmd) bool { return w.Quiet == 4*time.Second }, ""},
		{"one that is empty", []string{"LULL_QUIET="}, nil, func(w waitCmd) bool { return w.Quiet == 5*time.Second }, ""},
		{"others", []string{"LULL_TEAM=web", "LULL_VERSION=1", "LULL_HELP=1", "LULL_PORT=tcp://10.0.0.1:80"}, nil, func(w waitCmd) bool { return w.socketFlags.asked() == nil }, ""},
		{"wrong in the environment", []string{"LULL_QUIET=soon"}, nil, nil, "--quiet"},
		{"wrong on the command line", nil, []string{"--quiet=0s"}, nil, "must be more than 0s"},
		{"help", nil, []string{"--quiet=3s", "--help"}, nil, errPrints.Error()},
		{"version", []string{"LULL_QUIET=3s"}, []string{"--version"}, nil, errPrints.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseAlone(tt.env, tt.args)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || !tt.want(c.Wait) {
				t.Errorf("%+v, %v", c.Wait, err)
			}
		})
	}
}

// A pod's author does not put words into the shell of whoever checks it.
func TestPlainPath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"/opt/lull/lull": true, "lull": true, "./a_b/lull-1.0/lull": true,
		"$DIR/lull": false, "/a b/lull": false, "/`x`/lull": false, "/a;x/lull": false, "/a\n/lull": false,
	} {
		if isPlainPath(text) != want {
			t.Errorf("%q: want %t", text, want)
		}
	}
}

func TestServiceLink(t *testing.T) {
	t.Parallel()
	for kv, want := range map[string]bool{
		"LULL_PORT=tcp://10.0.0.1:80": true, "LULL_PORT=udp://10.0.0.1:53": true, "LULL_PORT=sctp://[fd00::1]:9": true,
		"LULL_PORT=8080": false, "LULL_PORT=http://10.0.0.1": false, "LULL_DRAIN=http://127.0.0.1/": false, "LULL_DRAIN=tcp://127.0.0.1:1": false,
	} {
		if name, value, _ := strings.Cut(kv, "="); isServiceLink(name, value) != want {
			t.Errorf("%s: want %t", kv, want)
		}
	}
}

// What is advised to run in the pod is where the hook has it, in the container that has the hook.
func TestCheckAdvice(t *testing.T) {
	t.Parallel()
	c := newTestCluster()
	c.addContainer("envoy", 8081, execHook("/stop"))
	c.pod().Spec.Containers[0], c.pod().Spec.Containers[1] = c.pod().Spec.Containers[1], c.pod().Spec.Containers[0]
	c.pod().Spec.Containers[1].Lifecycle.PreStop = execHook("/opt/lull/lull", "--quiet=3s")
	rows, _ := checkRows(t, c, "--context=here")
	for _, want := range []string{
		"sockets: not looked at: they are the pod's: kubectl exec --context here -n a web-0 -c app -- /opt/lull/lull check",
		"hook: warning: container envoy: how long its own hook holds it is unknown (/stop); put lull before it: /opt/lull/lull -- COMMAND",
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(rows, "\n"))
		}
	}
}
