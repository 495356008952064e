package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"lull/testdata/markdown"
	"lull/testdata/ownnet"
)

var update = flag.Bool("update", false, "write the generated parts of the READMEs anew")

func TestMain(m *testing.M) {
	run := func() int {
		testscript.Main(m, map[string]func(){"lull": main})
		return 0
	}
	if filepath.Base(os.Args[0]) == "lull" { // run by a script, whose namespace it shares
		run()
	}
	os.Exit(ownnet.Run(run))
}

// TestScripts runs the command line's specification, testdata/script: each file
// reads like a session at a terminal.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve,
			"story": checkStory,
		},
	})
}

// serve starts an HTTP server on a port of its own, named by $PORT. With
// "load", a client calls it on a new connection every 20 ms; with "for=1s" only
// for that long.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	server := httptest.NewServer(http.NotFoundHandler())
	ctx, stop := context.WithCancel(context.Background())
	for _, a := range args {
		if d, ok := strings.CutPrefix(a, "for="); ok {
			limit, err := time.ParseDuration(d)
			ts.Check(err)
			ctx, stop = context.WithTimeout(context.Background(), limit)
		}
	}
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	ts.Check(err)
	ts.Setenv("PORT", port)
	done := make(chan struct{})
	go func() {
		defer close(done)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for len(args) > 0 && ctx.Err() == nil {
			if resp, err := client.Get(server.URL); err == nil {
				resp.Body.Close()
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	ts.Defer(func() {
		stop()
		<-done
		server.Close()
	})
}

// checkStory is the command story: it checks that a file is a story in JSON and has an event: each line an
// object of lull's, one of them with the attributes named as key=value.
func checkStory(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: story file key=value...")
	}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil || event["logger"] != "lull" || event["msg"] == "" {
			ts.Fatalf("not an event of lull's (%v): %s", err, line)
		}
		has := true
		for _, kv := range args[1:] {
			key, value, _ := strings.Cut(kv, "=")
			has = has && fmt.Sprint(event[key]) == value
		}
		if has {
			return
		}
	}
	ts.Fatalf("no event has %v:\n%s", args[1:], ts.ReadFile(args[0]))
}

// TestReadme holds the README's flag table to the flags.
func TestReadme(t *testing.T) {
	same, err := markdown.Section("README.md", "flags", flagTable(t), *update)
	if err != nil {
		t.Fatal(err)
	}
	if !same && !*update {
		t.Error("README.md: the flag table is stale: go test . -run TestReadme -update")
	}
}

func flagTable(t *testing.T) string {
	var c cli
	parser, err := kong.New(&c, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| flag | default | environment | meaning |\n|---|---|---|---|\n")
	for _, node := range parser.Model.Children {
		if node.Name != "wait" {
			continue
		}
		for _, f := range node.Flags {
			def := f.Default
			if def == "" {
				def = "none"
			}
			env := strings.Join(f.Envs, ", ")
			if env == "" {
				t.Errorf("--%s has no environment variable", f.Name)
			}
			fmt.Fprintf(&b, "| `--%s` | %s | `%s` | %s |\n", f.Name, def, env, strings.ReplaceAll(f.Help, "|", "\\|"))
		}
	}
	return b.String()
}
