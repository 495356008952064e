package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"lull/testdata/markdown"
)

// lull runs the command in an environment of its own, and returns what it prints and its exit code.
func lull(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	c := exec.CommandContext(t.Context(), self)
	c.Args = append([]string{"lull"}, args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	c.Stdout, c.Stderr = &out, &errs
	_ = c.Run() // the exit code tells
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// pod and slice of a test cluster that mistakes are made in.
func (c *testCluster) pod() *corev1.Pod                  { return c.pods[0] }
func (c *testCluster) app() *corev1.Container            { return &c.pods[0].Spec.Containers[0] }
func (c *testCluster) slice() *discoveryv1.EndpointSlice { return c.slices[0] }

// addContainer puts another one beside the app.
func (c *testCluster) addContainer(name string, port int32, hook *corev1.LifecycleHandler) {
	more := corev1.Container{Name: name, Lifecycle: &corev1.Lifecycle{PreStop: hook}}
	if port != 0 {
		more.Ports = []corev1.ContainerPort{{ContainerPort: port}}
	}
	c.pod().Spec.Containers = append(c.pod().Spec.Containers, more)
}

// mistakes are what people get wrong, one at a time, and what lull check says then. The words in
// front of what is lacking are those of lull check's first column.
var mistakes = []struct {
	name string
	make func(*testCluster)
	code int
	want string
}{
	{"no hook", func(c *testCluster) { c.app().Lifecycle = nil }, 1,
		"lacks: a preStop hook in container app: it gets SIGTERM at once, while clients are still sent to it"},
	{"a sleep instead", func(c *testCluster) {
		c.app().Lifecycle.PreStop = &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}}
	}, 1, "lacks: lull in container app: its hook sleeps for 5s, whatever arrives"},
	{"a proxy without a hook", func(c *testCluster) { c.addContainer("envoy", 8080, nil) }, 1,
		"lacks: a preStop hook in container envoy: it gets SIGTERM at once, while lull still holds app"},
	{"a proxy that sleeps", func(c *testCluster) {
		c.addContainer("envoy", 8080, &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 2}})
	}, 1, "lacks: lull in container envoy: it sleeps for 2s and then gets SIGTERM, while lull may hold app for 20s"},
	{"a neighbour without a hook", func(c *testCluster) { c.addContainer("agent", 0, nil) }, 0,
		"hook: warning: if traffic goes through it, a preStop hook in container agent: it gets SIGTERM at once, while lull still holds app"},
	{"a proxy with a hook of its own", func(c *testCluster) { c.addContainer("envoy", 8080, execHook("/stop", "-now")) }, 0,
		"hook: warning: container envoy: how long its own hook holds it is unknown (/stop -now); put lull before it: /lull -- COMMAND"},
	{"no readiness probe", func(c *testCluster) { c.app().ReadinessProbe = nil }, 1,
		"lacks: a readiness probe: without one the pod is ready as soon as it runs"},
	{"a command for a probe", func(c *testCluster) {
		c.app().ReadinessProbe.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}
	}, 0, "probe: warning: readiness by a command every 5s: what it connects to is not counted from loopback and [10.0.0.0]"},
	{"no time", func(c *testCluster) { c.pod().Spec.TerminationGracePeriodSeconds = new(int64(5)) }, 1,
		"lacks: time: at least 5s of waiting do not fit into the budget of 4s: raise terminationGracePeriodSeconds"},
	{"a quiet window that is too long", func(c *testCluster) { c.app().Lifecycle.PreStop = execHook("/lull", "--quiet=40s") }, 1,
		"lacks: time: at least 40s of waiting do not fit into the budget of"},
	{"published ready or not", func(c *testCluster) { c.services[0].Spec.PublishNotReadyAddresses = true }, 0,
		"rotation: warning: Service web has publishNotReadyAddresses: its slices will list the pod ready to the end"},
	{"headless", func(c *testCluster) { c.slice().Labels[corev1.IsHeadlessService] = "" }, 0,
		"unwatched: warning: Service web is headless: its clients may hold the pod's address for 30s after it left: use --min=30s"},
	{"UDP", func(c *testCluster) {
		c.slice().Ports = append(c.slice().Ports, discoveryv1.EndpointPort{Name: new("h3"), Port: new(int32(8443)), Protocol: new(corev1.ProtocolUDP)})
	}, 0, "unwatched: warning: Service web: 8443/UDP (h3) cannot be watched: use --min"},
	{"one replica", func(c *testCluster) { c.slice().Endpoints = c.slice().Endpoints[:1] }, 0,
		"replicas: warning: the pod is the only endpoint of Service web: a replacement takes over only if it is ready within the budget"},
	{"one replica that nothing replaces", func(c *testCluster) {
		c.slice().Endpoints, c.pod().OwnerReferences = c.slice().Endpoints[:1], nil
	}, 0, "replicas: warning: the pod is the only endpoint of Service web: nothing makes another one"},
	{"one replica of a StatefulSet", func(c *testCluster) {
		c.slice().Endpoints, c.pod().OwnerReferences[0].Kind = c.slice().Endpoints[:1], "StatefulSet"
	}, 0, "replicas: warning: the pod is the only endpoint of Service web: a StatefulSet makes another one only when it has ended"},
	{"host network", func(c *testCluster) { c.pod().Spec.HostNetwork = true }, 0,
		"network: warning: hostNetwork: the sockets are the node's"},
	{"host network, no Service and no port", func(c *testCluster) {
		c.pod().Spec.HostNetwork, c.app().Ports, c.slices = true, nil, nil
	}, 1, "lacks: a port to watch: neither Services nor the containers name one, and hostNetwork has the node's beside it, so the hook sleeps for 15s"},
	{"slices that somebody else writes", func(c *testCluster) { c.slice().Labels[discoveryv1.LabelManagedBy] = "somebody" }, 0,
		"rotation: warning: Service web: its slices are not the endpoint controller's"},
	{"no right to read slices", func(c *testCluster) { c.denied["watch endpointslices"], c.denied["create events"] = true, true }, 1,
		"lacks: the right to watch endpointslices.discovery.k8s.io: they tell when the pod is out of rotation"},
	{"no right to create events", func(c *testCluster) { c.denied["create events"] = true }, 0,
		"rights: warning: no right to create events: kubectl events and kubectl describe pod then show how the hook goes"},
	{"no token", func(c *testCluster) { c.app().VolumeMounts = nil }, 1,
		"lacks: a service account token in container app (automountServiceAccountToken: false?)"},
	{"no Service", func(c *testCluster) { c.slices = nil }, 0,
		"rotation: warning: in no Service's EndpointSlices: nobody is told that the pod ends"},
	{"another port", func(c *testCluster) { c.slice().Ports[0].Port = new(int32(9999)) }, 0,
		"ports: warning: a Service leads to :9999 (http), which no container declares; they declare [8080]"},
	{"another command with the word lull", func(c *testCluster) { c.app().Lifecycle.PreStop = execHook("echo", "lull") }, 1,
		"lacks: lull in container app: its hook is echo lull"},
	{"another of lull's commands", func(c *testCluster) { c.app().Lifecycle.PreStop = execHook("/lull", "check") }, 1,
		"lacks: a hook that holds in container app: /lull check is none"},
	{"another of lull's commands, beside the hook", func(c *testCluster) { c.addContainer("agent", 0, execHook("/lull", "watch")) }, 0,
		"hook: warning: if traffic goes through it, a hook that holds in container agent: /lull watch is none, and it gets SIGTERM while lull still holds app"},
	{"a hook that prints", func(c *testCluster) { c.app().Lifecycle.PreStop = execHook("/lull", "--version") }, 1,
		"lacks: a hook that holds: that of container app prints something and exits: --help or --version"},
	{"a shell in between", func(c *testCluster) { c.app().Lifecycle.PreStop = execHook("sh", "-c", "exec /lull --quiet=40s") }, 0,
		"hook: warning: container app: its hook runs lull by way of sh: flags are read from the container's environment alone"},
	{"a flag that is wrong", func(c *testCluster) { c.app().Lifecycle.PreStop = execHook("/lull", "--quite=3s") }, 1,
		"lacks: flags that are right in container app: unknown flag --quite"},
	{"a command without --", func(c *testCluster) {
		c.app().Lifecycle.PreStop = execHook("/lull", "--quiet=3s", "nginx", "-s", "quit")
	}, 1,
		"lacks: flags that are right in container app: nginx ... is no flag: a command stands behind --: lull -- nginx ..."},
	{"told not to ask", func(c *testCluster) { c.app().Env = []corev1.EnvVar{{Name: "LULL_ENDPOINTS", Value: "skip"}} }, 1,
		"lacks: the EndpointSlices: the hook has --endpoints=skip, so it takes at least 10s"},
	{"switched off", func(c *testCluster) { c.app().Env = []corev1.EnvVar{{Name: "LULL_DISABLED", Value: "1"}} }, 1,
		"lacks: a hook that holds: container app has LULL_DISABLED"},
}

// TestMistakes makes each mistake against an API server, and nothing else: where there is none,
// lull check has nothing to say but what is so.
func TestMistakes(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: asks an API server about each mistake")
	}
	t.Parallel()
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		rows, code := checkRows(t, newTestCluster())
		if code != 0 || !slices.Contains(rows, "lacks: nothing") || slices.ContainsFunc(rows, isWarning) {
			t.Errorf("exit code %d\n%s", code, strings.Join(rows, "\n"))
		}
	})
	t.Run("none, by way of a shell", func(t *testing.T) {
		t.Parallel()
		c := newTestCluster()
		c.app().Lifecycle.PreStop = execHook("sh", "-c", "exec /lull --quiet=$Q")
		if rows, code := checkRows(t, c); code != 0 {
			t.Errorf("exit code %d\n%s", code, strings.Join(rows, "\n"))
		}
	})
	said := make([]string, len(mistakes))
	t.Run("each", func(t *testing.T) {
		for i, tt := range mistakes {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				c := newTestCluster()
				tt.make(c)
				rows, code := checkRows(t, c)
				at := slices.IndexFunc(rows, func(row string) bool { return strings.HasPrefix(row, tt.want) })
				if code != tt.code || at < 0 {
					t.Errorf("exit code %d, want %d and %q\n%s", code, tt.code, tt.want, strings.Join(rows, "\n"))
					return
				}
				if told := len(slices.DeleteFunc(slices.Clone(rows), func(row string) bool { return !isWarning(row) })); tt.code == 0 && told != 1 {
					t.Errorf("%d warnings", told)
				}
				said[i] = fmt.Sprintf("| %s | %s | %d |\n", tt.name, rows[at], code)
			})
		}
	})
	if slices.Contains(said, "") {
		return // failed, or left out by -run
	}
	table := "| mistake | what `lull check` says | exit code |\n|---|---|---|\n" + strings.Join(said, "")
	if same, err := markdown.Section("examples/mistakes.md", "mistakes", table, *update); err != nil || !same && !*update {
		t.Errorf("examples/mistakes.md is stale: go test . -run TestMistakes -update (%v)", err)
	}
}

func isWarning(row string) bool { return strings.Contains(row, ": warning: ") }

// checkRows checks the first pod, and returns the table's rows as "label: text".
func checkRows(t *testing.T, c *testCluster, more ...string) (rows []string, code int) {
	t.Helper()
	stdout, stderr, code := lull(t, []string{"KUBECONFIG=" + c.serve(t)}, append([]string{"check", "pod/web-0"}, more...)...)
	if stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
	for line := range strings.Lines(stdout) {
		label, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		rows = append(rows, label+": "+strings.TrimSpace(text))
	}
	return rows, code
}

// With --debug each request is told, in the format that was asked for, and the report stays as it is.
func TestCheckDebug(t *testing.T) {
	t.Parallel()
	env := []string{"KUBECONFIG=" + newTestCluster().serve(t)}
	report, _, _ := lull(t, env, "check", "pod/web-0")
	for _, tt := range []struct {
		args []string
		env  string
		want string
	}{
		{args: []string{"--debug"}, want: `(?m)^lull: debug: GET .*/namespaces/a/pods/web-0`},
		{args: []string{"--debug"}, want: `(?m)^lull: debug: POST .*/subjectaccessreviews`},
		{env: "LULL_DEBUG=1", want: `(?m)^lull: debug: GET .*/namespaces/a/pods/web-0`},
		{args: []string{"--debug", "--format=json"}, want: `(?m)^\{"time".*"level":"DEBUG".*"logger":"lull"`},
	} {
		stdout, stderr, code := lull(t, append(env, tt.env), append([]string{"check", "pod/web-0"}, tt.args...)...)
		if code != 0 || !regexp.MustCompile(tt.want).MatchString(stderr) || len(tt.args) < 2 && stdout != report {
			t.Errorf("%v: exit code %d, no %s in\n%s\nand%s", tt.args, code, tt.want, stderr, stdout)
		}
	}
}

// Who may not ask is named.
func TestCheckMayNotAsk(t *testing.T) {
	t.Parallel()
	c := newTestCluster()
	c.denied["get deployments"] = true
	_, stderr, code := lull(t, nil, "check", "--kubeconfig", c.serve(t), "deploy/web")
	if code != 1 || !strings.Contains(stderr, "no permission to get deployments in namespace a: grant it to user jane") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// What keeps somebody from knowing what a pod elsewhere does is told as that, and nothing is made of
// it: the hook has rights and a network of its own.
func TestCheckNotKnown(t *testing.T) {
	t.Parallel()
	const noPods = "lacks: not known to you: no permission to get pods in namespace a: grant it to user jane (see README: Rights) (nothing is known of the hook)"
	const noSlices = "lacks: not known to you: no permission to list endpointslices.discovery.k8s.io in namespace a: grant it to user jane (see README: Rights) "
	for _, tt := range []struct {
		name   string
		denied []string
		want   string
		known  string // what is told all the same
	}{
		{"neither", []string{"get pods", "list endpointslices"}, noPods, "pod: a/web-0"},
		{"no pods", []string{"get pods"}, noPods, "pod: a/web-0"},
		{"no slices", []string{"list endpointslices"}, noSlices + "(nothing is known of its rotation)", "hook: container app: /lull"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster()
			c.mayReview = map[string]bool{"get pods": true, "list endpointslices": true}
			for _, right := range tt.denied {
				c.denied[right] = true
			}
			rows, code := checkRows(t, c)
			of := func(label string) int {
				return len(slices.DeleteFunc(slices.Clone(rows), func(row string) bool { return !strings.HasPrefix(row, label+": ") }))
			}
			if code != 1 || !slices.Contains(rows, tt.want) || !slices.Contains(rows, tt.known) || of("lacks") != 1 || of("plan")+of("budget") > 0 {
				t.Errorf("exit code %d, want %q and %q, and no plan\n%s", code, tt.want, tt.known, strings.Join(rows, "\n"))
			}
		})
	}
}

// Pods are named as kubectl names them, and the cluster is the one that kubectl would ask.
func TestCheckWhichPods(t *testing.T) {
	t.Parallel()
	c := newTestCluster()
	kubeconfig := c.serve(t)
	home := t.TempDir()
	if err := os.Mkdir(home+"/.kube", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(kubeconfig, home+"/.kube/config"); err != nil {
		t.Fatal(err)
	}
	both := []string{"a/web-0", "a/web-1"}
	for _, tt := range []struct {
		env  []string
		args string
		want []string
		err  string
	}{
		{nil, "deploy/web --kubeconfig " + kubeconfig, both, ""},
		{[]string{"KUBECONFIG=" + kubeconfig}, "deployments.apps/web", both, ""},
		{[]string{"HOME=" + home}, "svc/web", both, ""},
		{[]string{"HOME=" + home}, "-l app=web -n a", both, ""},
		{[]string{"HOME=" + home}, "pod/web-1 web-0 web-1", []string{"a/web-1", "a/web-0"}, ""},
		{[]string{"HOME=" + home}, "--pod web-1 --context here", both[1:], ""},
		{[]string{"HOME=" + home}, "--context nowhere pod/web-1", nil, `context "nowhere" does not exist`},
		{[]string{"HOME=" + home}, "--context empty -l app=web", nil, "cannot list pods in namespace b"},
		{[]string{"HOME=" + home}, "-n a", nil, "lull: which pod of namespace a? name it: pod/NAME, deploy/NAME, -l LABELS\n"},
		{[]string{"HOME=" + home}, "--quiet=3s", nil, "lull: which pod? name it: pod/NAME, deploy/NAME, -l LABELS; or --port to check this machine's own sockets\n"},
		{[]string{"KUBECONFIG=" + kubeconfig}, "", nil, "lull: which pod? name it: "},
		{nil, "--port auto", nil, "lull: which pod? name it: "},
		{[]string{"HOME=" + home}, "-l app=db", nil, "no pod in namespace a has the labels app=db"},
		{[]string{"HOME=" + home}, "-l app==,", nil, `label selector "app==,"`},
		{[]string{"HOME=" + home}, "job/web", nil, `"job/web": neither a pod nor one of deploy, sts, ds, rs, svc`},
		{[]string{"HOME=" + home}, "deploy/api", nil, "cannot get deployments in namespace a"},
		{[]string{"HOME=" + home}, "deploy/../x", nil, `"deploy/../x": `},
		{nil, "--namespace a --pod X", nil, "no cluster to ask about the pod: set KUBECONFIG or --kubeconfig, or run lull check in the pod"},
		{nil, "deploy/web", nil, "no cluster to ask about the pod"},
		{[]string{"HOME=" + home}, "deploy/web --endpoints skip", nil, "there is nobody to ask"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := lull(t, tt.env, append([]string{"check", "--format=json"}, strings.Fields(tt.args)...)...)
			if tt.err != "" {
				if code != 1 || !strings.Contains(stderr, tt.err) || stdout != "" {
					t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
				}
				return
			}
			var got []string
			for line := range strings.Lines(stdout) {
				var r report
				if err := json.Unmarshal([]byte(line), &r); err != nil || !r.OK || len(r.Findings) == 0 {
					t.Fatalf("%v: %s", err, line)
				}
				got = append(got, r.Pod)
			}
			if code != 0 || !slices.Equal(got, tt.want) {
				t.Errorf("exit code %d, %v, want %v\n%s", code, got, tt.want, stderr)
			}
		})
	}
}

// Nothing of the machine that asks is told as the pod's.
func TestCheckTellsNothingOfTheLaptop(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stdout, _, _ := lull(t, nil, "check", "--kubeconfig", newTestCluster().serve(t), "deploy/web")
	if strings.Contains(stdout, "listening") || strings.Contains(stdout, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)) {
		t.Errorf("sockets of this machine:\n%s", stdout)
	}
	if n := strings.Count(stdout, "not counted from [172.16.0.1]"); n != 2 {
		t.Errorf("%d probes with the node's address alone:\n%s", n, stdout)
	}
	if !strings.HasSuffix(stdout, "\n2 pods, of which 0 lack something\n") {
		t.Errorf("the end of %s", stdout)
	}
}

// In the pod, what listens is named where the Service's port leads elsewhere, and what no Service
// can reach.
func TestCheckListening(t *testing.T) {
	t.Parallel()
	open := func(addr string) uint16 {
		l, err := net.Listen("tcp", addr+":0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return uint16(l.Addr().(*net.TCPAddr).Port)
	}
	everywhere, loopback := open("0.0.0.0"), open("127.0.0.1")
	for _, tt := range []struct {
		port uint16
		want string
		code int
	}{
		{1, `\nlacks +a listening socket on the ports \[1\] \(http is :1\); what listens is (:\d+, )*:` + fmt.Sprint(everywhere) + `(, :\d+)*\n`, 1},
		{everywhere, `\nlistening +:` + fmt.Sprint(everywhere) + `, 0 of a backlog`, 0},
		{loopback, `\nlistening +warning: :` + fmt.Sprint(loopback) + ` listens on loopback alone`, 0},
	} {
		c := newTestCluster()
		c.slice().Ports[0].Port = new(int32(tt.port))
		env := []string{"KUBERNETES_SERVICE_HOST=127.0.0.1", "POD_NAME=web-0"}
		stdout, _, code := lull(t, env, "check", "--kubeconfig", c.serve(t), "--pod", "web-0")
		if code != tt.code || !regexp.MustCompile(tt.want).MatchString(stdout) {
			t.Errorf("exit code %d, want %d and %s\n%s", code, tt.code, tt.want, stdout)
		}
	}
}
