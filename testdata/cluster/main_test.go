package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"lull/testdata/cluster/node"
)

// LULL_CLUSTER=required makes a failure of what would otherwise be skipped for want of root or tools.
var required = os.Getenv("LULL_CLUSTER") == "required"

// shared is the node that the scenarios run on: the first that asks starts it.
var shared struct {
	sync.Mutex
	node *node.Node
	err  error
}

// init keeps the process's first thread out of the node: a goroutine that ends locked to it, in the
// node's namespaces, would leave it there, and /proc/net and /proc/self show what that thread sees.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper() // does not return
	}
	flag.Parse()
	// Scenarios wait far more than they work, so more of them than there are processors can run at
	// a time.
	if f := flag.Lookup("test.parallel"); f != nil {
		explicit := false
		flag.Visit(func(f *flag.Flag) { explicit = explicit || f.Name == "test.parallel" })
		if !explicit {
			_ = f.Value.Set("4")
		}
	}
	// Without its log of what the tests have opened the go command can't keep their result: it does
	// not know that it depends on lull's source, on who runs it and on what is installed.
	_ = flag.Set("test.testlogfile", "")
	go stalls.watch()
	go stalls.watchLoad()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupted
		stopShared()
		os.Exit(130)
	}()
	started := time.Now()
	code := m.Run()
	if stood := stalls.between(started, time.Now()); stood > time.Second {
		say("this machine stood still for %.1f s in all: figures are worse than they need be", stood.Seconds())
	}
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "tear down:", err)
		code = 1
	}
	os.Exit(code)
}

// cluster returns the shared node, and skips the test where there can't be one.
func cluster(t *testing.T) *node.Node {
	t.Helper()
	return sharedNode(t, node.Options{})
}

// sharedNode starts the shared node so if there is none.
func sharedNode(t *testing.T, o node.Options) *node.Node {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.node == nil && shared.err == nil {
		o.Say = say
		if limit, ok := t.Deadline(); ok {
			o.Built = limit.Add(-time.Minute)
		}
		shared.node, shared.err = node.Up(context.Background(), o)
	}
	switch {
	case shared.err == nil:
	case errors.Is(shared.err, node.ErrUnavailable) && !required:
		t.Skip(shared.err)
	default:
		t.Fatal(shared.err)
	}
	return shared.node
}

// say tells progress beside the tests' own output: a cold build takes minutes.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// stopShared ends the shared node, if there is one. The next test that needs one starts another.
func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	n := shared.node
	shared.node = nil
	return n.Down()
}
