package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"lull/testdata/cluster/node"
)

// helperEnv tells the test binary that it is to bring a node up and keep it.
const helperEnv = "LULL_CLUSTER_HELPER"

// helper is a run that will be killed.
func helper() {
	if _, err := node.Up(context.Background(), node.Options{}); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("up")
	select {}
}

// TestLeavesNothing brings a node up in another process, kills that by SIGKILL, brings one up here
// on what is left, and takes it down: nothing remains, and the machine is as it was.
func TestLeavesNothing(t *testing.T) {
	cluster(t) // skips where there can't be one
	if err := stopShared(); err != nil {
		t.Fatal(err)
	}
	if traces := traces(t); len(traces) > 0 {
		t.Fatalf("a node that is down leaves behind:\n%s", strings.Join(traces, "\n"))
	}
	before := node.Machine()

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	killed := exec.CommandContext(t.Context(), self)
	killed.Env = append(os.Environ(), helperEnv+"=up")
	out, err := killed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("the other process said %q: %v", line, err)
	}
	up := traces(t)
	t.Logf("while a node is up:\n%s", strings.Join(up, "\n"))
	if len(up) == 0 {
		t.Error("no traces of a node that is up: this test sees nothing")
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	// Its node dies with it; files and empty cgroups are left for the next run to clear.
	deadline := time.Now().Add(20 * time.Second)
	for slices.ContainsFunc(traces(t), func(s string) bool { return strings.HasPrefix(s, "process") }) {
		if time.Now().After(deadline) {
			t.Fatalf("processes outlive the run:\n%s", strings.Join(traces(t), "\n"))
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("after its run was killed:\n%s", strings.Join(traces(t), "\n"))

	t.Run("another run", func(t *testing.T) { newScene(t).pod(workload{}) })
	if err := stopShared(); err != nil {
		t.Fatal(err)
	}
	if traces := traces(t); len(traces) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(traces, "\n"))
	}
	if after := node.Machine(); !slices.Equal(before, after) {
		t.Errorf("the machine was\n%s\nand is\n%s", strings.Join(without(before, after), "\n"), strings.Join(without(after, before), "\n"))
	}
}

// without are the members of a list that another has not.
func without(list, other []string) (rest []string) {
	for _, s := range list {
		if !slices.Contains(other, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

func traces(t *testing.T) []string {
	t.Helper()
	list, err := node.Traces()
	if err != nil {
		t.Fatal(err)
	}
	return list
}
