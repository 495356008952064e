package main

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestPlausibleAge(t *testing.T) {
	const boot = 100 * time.Hour
	const ticks = uint64(boot / (10 * time.Millisecond))
	for name, tt := range map[string]struct {
		ticks uint64
		want  time.Duration
	}{
		"now":              {ticks, 0},
		"a second ago":     {ticks - 101, time.Second},
		"30 s ago":         {ticks - 3001, 30 * time.Second},
		"longer ago":       {ticks - 3002, 0},
		"in the future":    {ticks + 1, 0},
		"at boot":          {1, 0},
		"not known":        {0, 0},
		"a number at most": {math.MaxUint64, 0},
	} {
		if got := plausibleAge(tt.ticks, boot); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if got := plausibleAge(0, 5*time.Second); got != 0 {
		t.Errorf("not known, on a machine that was just started: %s", got)
	}
}

func init() {
	if os.Getenv(processAgeEnv) != "" {
		fmt.Print(processAge("/proc"))
		os.Exit(0)
	}
}

// processAgeEnv has this test program tell its age instead.
const processAgeEnv = "TELL_PROCESS_AGE"

// TestProcessAge asks processes that a shell becomes.
func TestProcessAge(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := processAge(t.TempDir()); got != 0 {
		t.Errorf("without a /proc: %s", got)
	}
	// A time namespace shifts both clocks. Where none can be had, there is none to be told apart.
	for name, wrap := range map[string]string{
		"a process": `sleep 0.5; exec "$0"`,
		"a process of another time namespace": `unshare --time --boottime 1000000 true 2>/dev/null || { sleep 0.5; exec "$0"; }
			exec unshare --time --boottime 1000000 --fork sh -c 'sleep 0.5; exec "$0"' "$0"`,
	} {
		c := exec.Command("/bin/sh", "-c", wrap, self)
		c.Env = append(os.Environ(), processAgeEnv+"=1")
		from := time.Now()
		out, err := c.Output()
		took := time.Since(from)
		age, parseErr := time.ParseDuration(string(out))
		if err != nil || parseErr != nil || age < 500*time.Millisecond-procTick || age > took {
			t.Errorf("%s: %v after %s: %q", name, err, took, out)
		}
	}
}
