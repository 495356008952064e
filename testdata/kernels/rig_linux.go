package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// rig measures on the machine that it runs on.
type rig struct {
	bin     string // where the programs are
	procnet string // a directory with procnet's testdata
	few     bool   // kinds of traffic
	own     bool   // the machine, whose clock may be set
}

// measure reports which requests work, how lull exits, and what procnet's tests do, if there are
// arguments for them, and TestTrials.
func (g rig) measure(stage, source string, trials bool, procnetArgs ...string) {
	r := report{Kernel: kernelRelease(), Stage: stage}
	// lull comes first: its own request may have to load a module.
	for _, kind := range traffics {
		if why := g.leavesOut(kind); why != "" {
			r.Exits = append(r.Exits, exit{Traffic: kind.name, NotRun: why})
			continue
		}
		x, events := g.exit(kind, source)
		r.Exits = append(r.Exits, x)
		if r.Source == "" {
			r.Source, r.Why = sourceOf(source, events)
		}
	}
	r.Request, r.Events = requests()
	if len(procnetArgs) > 0 {
		r.send() // should the tests not end
		r.Tests = runTests(g.procnet, filepath.Join(g.bin, "procnet.test"), slices.Concat([]string{"-test.short", "-test.v"}, procnetArgs)...)
	}
	if trials {
		r.send()
		r.Trials = runTests("/", filepath.Join(g.bin, "lull.test"), "-test.run=^TestTrials$", "-test.v", "-test.timeout=25m")
	}
	r.send()
}

// leavesOut says why a kind of traffic is not for this machine, or nothing.
func (g rig) leavesOut(kind traffic) string {
	switch {
	case g.few && !kind.few:
		return "lull sees no sockets here, and sleeps whatever comes"
	case kind.own && !g.own:
		return "a sandbox's clock cannot be set"
	}
	return ""
}

// sourceOf reads in lull's story which source it took, and why that is not the one that was asked for.
func sourceOf(asked string, events []event) (source, why string) {
	for _, e := range events {
		if e.Event != "missing" {
			continue
		}
		if strings.HasPrefix(e.Msg, "no view of the sockets") {
			return "none", e.Msg
		}
		return "proc", e.Msg
	}
	if asked == "auto" {
		return "netlink", ""
	}
	return asked, ""
}

var testLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)

// runTests runs a test program and counts what it did. What a test that failed had to say goes to
// the log.
func runTests(dir, program string, args ...string) *suite {
	s := new(suite)
	ctx, cancel := context.WithTimeout(context.Background(), 26*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "LULL_BINARY="+filepath.Join(filepath.Dir(program), "lull"), "LULL_TRIALS=6")
	c.WaitDelay = 5 * time.Second
	out, err := c.CombinedOutput()
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	var said []string
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "=== ") {
			continue
		}
		m := testLine.FindStringSubmatch(lines.Text())
		if m == nil {
			said = append(said, lines.Text())
			continue
		}
		switch m[1] {
		case "PASS":
			s.Passed++
		case "SKIP":
			s.Skipped++
		case "FAIL":
			s.Failed++
			s.Failures = append(s.Failures, m[2])
		}
	}
	for _, line := range said {
		if _, text, ok := strings.Cut(line, " trials, window "); ok {
			s.Figures = append(s.Figures, text)
		}
	}
	s.Finished = ctx.Err() == nil && bytes.Contains(out, []byte("\nPASS\n")) == (err == nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, strings.Join(said[max(0, len(said)-200):], "\n"))
	}
	return s
}
