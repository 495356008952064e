package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lull/testdata/crowd"
	"lull/testdata/ownnet"
)

// Some tests run lull beside traffic of their own in a network namespace where there is no other
// traffic, so that both sources can be held to what they promise. This test program starts itself
// again in a new namespace for each of these runs.

// isolatedRuns are the functions that can run in a namespace of their own, by name. Arguments and
// results pass as JSON.
var isolatedRuns = map[string]func(string) (any, error){
	"ended":   withJSON(ended.run),
	"idle":    withJSON(idle.run),
	"soak":    withJSON(soak.run),
	"trial":   withJSON(trial.run),
	"waiting": withJSON(waiting.run),
}

// The environment variables that tell the process what to run, and with what argument.
const isolatedEnv, isolatedArgEnv = "ISOLATED_RUN", "ISOLATED_ARGUMENT"

func init() {
	crowd.Main()
	if name := os.Getenv(isolatedEnv); name != "" {
		os.Exit(ownnet.Run(func() int { return isolatedMain(name) }))
	}
}

func withJSON[In, Out any](run func(In) (Out, error)) func(string) (any, error) {
	return func(text string) (any, error) {
		var in In
		if err := json.Unmarshal([]byte(text), &in); err != nil {
			return nil, err
		}
		return run(in)
	}
}

// isolatedMain runs the function name in this process and prints what it returns.
func isolatedMain(name string) (exitCode int) {
	out, err := isolatedRuns[name](os.Getenv(isolatedArgEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return 1
	}
	return 0
}

// runIsolated runs one of isolatedRuns in a new process and returns its result.
func runIsolated[Out any](ctx context.Context, name string, in any) (out Out, err error) {
	arg, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe")
	defer ownnet.Enter(c)()
	c.Env = append(c.Env, isolatedEnv+"="+name, isolatedArgEnv+"="+string(arg))
	c.WaitDelay = 10 * time.Second
	var stderr strings.Builder
	c.Stderr = &stderr
	text, err := c.Output()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, arg, err, stderr.String())
	}
	return out, err
}

// idle is a run that does nothing for so long.
type idle time.Duration

func (x idle) run() (struct{}, error) {
	time.Sleep(time.Duration(x))
	return struct{}{}, nil
}

// TestIsolatedOutlivesThreads: a run goes on while threads of this process end, as those of tests do
// that have a filter.
func TestIsolatedOutlivesThreads(t *testing.T) {
	t.Parallel()
	var runs sync.WaitGroup
	over := make(chan struct{})
	for range 32 {
		runs.Go(func() {
			if _, err := runIsolated[struct{}](t.Context(), "idle", idle(100*time.Millisecond)); err != nil {
				t.Error(err)
			}
		})
	}
	go func() {
		runs.Wait()
		close(over)
	}()
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Millisecond):
			for range 20 {
				go func() {
					runtime.LockOSThread() // for good: the thread ends with the goroutine
					time.Sleep(2 * time.Millisecond)
				}()
			}
		}
	}
}
