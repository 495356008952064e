package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command line's specification, testdata/script: each file reads like a
// session at a terminal. CONTRIBUTING.md says how to write one.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve,
			"story": checkStory,
		},
	})
}

// serve is the verb serve [load | for=1s | keep=1s]: it starts an HTTP server and sets $PORT to its
// port. With load, a client calls the server on a new connection every 20 ms; with for=1s, the client
// stops after that long. With keep=1s a client opens one connection, asks once, and closes it after
// that long. The server answers 200 to /drain, a redirect to /moved, and 404 to all else; it writes
// the methods with which /drain was asked to the file drained.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	drained, err := os.OpenFile(ts.MkAbs("drained"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	ts.Check(err)
	mux := http.NewServeMux()
	mux.HandleFunc("/drain", func(_ http.ResponseWriter, r *http.Request) { fmt.Fprintln(drained, r.Method) })
	mux.Handle("/moved", http.RedirectHandler("/drain", http.StatusFound))
	server := httptest.NewServer(mux)
	ctx, stop := context.WithCancel(context.Background())
	client := func() {}
	for _, a := range args {
		word, value, _ := strings.Cut(a, "=")
		limit := time.Hour
		if value != "" {
			limit, err = time.ParseDuration(value)
			ts.Check(err)
		}
		ctx, stop = context.WithTimeout(context.Background(), limit)
		client = func() { call(ctx, server.URL) }
		if word == "keep" {
			c, err := net.Dial("tcp", server.Listener.Addr().String())
			ts.Check(err)
			client = func() { keep(ctx, c) }
		}
	}
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	ts.Check(err)
	ts.Setenv("PORT", port)
	done := make(chan struct{})
	go func() {
		defer close(done)
		client()
	}()
	ts.Defer(func() {
		stop()
		<-done
		server.Close()
		drained.Close()
	})
}

// call calls a URL on a new connection every 20 ms.
func call(ctx context.Context, url string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		if resp, err := client.Get(url); err == nil {
			resp.Body.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// keep asks once on a connection, and closes it when the context ends.
func keep(ctx context.Context, c net.Conn) {
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	<-ctx.Done()
}

// checkStory is the verb story file key=value...: it checks that each line of the file is one of
// lull's events in JSON, and that one of them has all these attributes.
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
