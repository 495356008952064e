package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

// The test binary is the pods', too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == podArg {
		os.Exit(servePod(os.Args[2:]))
	}
	// The tests wait for timers most of the time, so more of them than cores may run at a time.
	if err := flag.Set("test.parallel", "5"); err != nil { // -parallel wins
		panic(err)
	}
	os.Exit(m.Run())
}

// quick is a shutdown short enough for a test. The proxy is late by far less
// than a hook takes, and by far more than the clients need to notice.
var quick = plan{
	Lead: 200 * time.Millisecond, Lag: 300 * time.Millisecond, Length: time.Second, Grace: 30 * time.Second,
	Clients: 4, Every: 10 * time.Millisecond,
}

// proxyLine is in the output of every run, whatever the hook.
const proxyLine = "  the proxy hears of it, and sends nothing more to web-a\n"

func shutdown(t *testing.T, p plan, h hook) (row, string) {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := p.shutdown(ctx, t.TempDir(), h, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Logf("%+v\n%s", r, &out)
	return r, out.String()
}

func TestShutdownWithoutHookLosesRequests(t *testing.T) {
	t.Parallel()
	r, story := shutdown(t, quick, hook{Name: "none"})
	if r.Served == 0 || r.Failed == 0 || r.Exit != 0 {
		t.Errorf("%+v", r)
	}
	for _, line := range []string{proxyLine, "requests failed, the last with 502: "} {
		if !strings.Contains(story, line) {
			t.Errorf("the story lacks %q:\n%s", line, story)
		}
	}
}

func TestShutdownAfterTheProxyLosesNone(t *testing.T) {
	t.Parallel()
	r, story := shutdown(t, quick, hook{Name: "long", Argv: []string{"sh", "-c", "echo held; sleep 2; exit 3"}})
	if r.Served == 0 || r.Failed != 0 || r.Waited < 2*time.Second || r.Exit != 3 {
		t.Errorf("%+v", r)
	}
	for _, line := range []string{"  held\n", proxyLine, "  long exits with 3\n"} {
		if !strings.Contains(story, line) {
			t.Errorf("the story lacks %q:\n%s", line, story)
		}
	}
}

func TestHookEndsWithTheGracePeriod(t *testing.T) {
	t.Parallel()
	p := quick
	p.Grace = time.Second
	if r, _ := shutdown(t, p, hook{Name: "endless", Argv: []string{"sleep", "60"}}); r.Exit != -1 || r.Waited > 50*time.Second {
		t.Errorf("%+v", r)
	}
}

func TestShutdownIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	p := quick
	p.Lead = time.Minute
	time.AfterFunc(100*time.Millisecond, func() { cancel(enough) })
	if _, err := p.shutdown(ctx, t.TempDir(), hook{}, new(bytes.Buffer)); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
}

func TestHookKnowsNothingOfOtherPods(t *testing.T) {
	t.Setenv("LULL_QUIET", "1h")
	t.Setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
	t.Setenv("POD_UID", "another")
	t.Setenv("DEMO_TEST", "kept")
	var lines []string
	h := hook{Name: "env", Argv: []string{"sh", "-c", `echo "<$LULL_QUIET$KUBERNETES_SERVICE_HOST$POD_UID$DEMO_TEST>"; echo "$0 $1" >&2`, "{kubeconfig}", "{port}"}}
	exit, err := h.with("/file", 8080).run(t.Context(), func(line string) { lines = append(lines, line) })
	if got := strings.Join(lines, " "); exit != 0 || err != nil || got != "<kept> /file 8080" {
		t.Errorf("exit %d, %v, %q", exit, err, got)
	}
	if _, err := (hook{Argv: []string{"/no/such/hook"}}).run(t.Context(), nil); err == nil {
		t.Error("a hook that is not there started")
	}
}

func TestJudge(t *testing.T) {
	ok := row{Hook: "x", Served: 9}
	lossy := row{Hook: "x", Served: 9, Failed: 1}
	lull := row{Hook: "lull", Served: 9}
	lossyLull := row{Hook: "lull", Served: 9, Failed: 1}
	for _, test := range []struct {
		name string
		rows []row
		want string
	}{
		{"shown", []row{lossy, ok, ok}, ""},
		{"sleep 1 may do what it likes", []row{lossy, lossy, ok}, ""},
		{"nothing to show", []row{ok, lossy, ok}, "lost no request"},
		{"lost with lull", []row{lossy, lossy, lossyLull}, "lull lost 1 requests"},
		{"lost with lull, and not with lull --drain", []row{lossy, lossy, lossyLull, lull}, "lull lost 1 requests"},
		{"a hook failed", []row{lossy, lossy, {Hook: "x", Served: 9, Exit: 1}}, "exited with 1 instead of 0"},
		{"out of budget", []row{lossy, lossy, {Hook: "x", Served: 9, Exit: 3}}, "without netlink"},
		{"nobody came", []row{lossy, ok, {Hook: "x"}}, "no request was served"},
	} {
		switch err := judge(test.rows); {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	const want = `
hook          requests served  requests failed  seconds waited
no hook                  1043              298             0.0
lull                     1341                0             5.3
`
	if got := table([]row{{"no hook", 0, 1043, 298, 0}, {"lull", 0, 1341, 0, 5321 * time.Millisecond}}); "\n"+got != want {
		t.Errorf("%s\nwant:%s", got, want)
	}
}
