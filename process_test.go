package main

import (
	"cmp"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// aStat is /proc/PID/stat of a process by its name and start time.
func aStat(name string, start int) string {
	return fmt.Sprintf("17 (%s) S 1%s %d 0 0\n", name, strings.Repeat(" 0", 17), start)
}

const caughtHUP = "Name:\tapp\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\nCapEff:\t0\n"

func TestParseProcess(t *testing.T) {
	for name, tt := range map[string]struct {
		stat, status string
		want         process // zero: an error
	}{
		"a process":            {aStat("app", 42), caughtHUP, process{name: "app", start: 42, caught: 1}},
		"a name like the rest": {aStat("a) S 1 (b", 42), caughtHUP, process{name: "a) S 1 (b", start: 42, caught: 1}},
		"blocked signals": {aStat("s6-svscan", 7), "SigBlk:\t0000000000014001\nSigIgn:\t0\nSigCgt:\t0\n",
			process{name: "s6-svscan", start: 7, blocked: 0x14001}},
		"signals that may be anything": {aStat("app", 42), "SigBlk:\tall\nSigCgt:\t0\n", process{}},
		"no name":                      {"17 app S 1", caughtHUP, process{}},
		"cut off":                      {"17 (app) S 1 0 0", caughtHUP, process{}},
		"no number":                    {strings.Replace(aStat("app", 42), " 42 ", " -4 ", 1), caughtHUP, process{}},
		"signals unknown":              {aStat("app", 42), "Name:\tapp\n", process{}},
		"signals that are none":        {aStat("app", 42), "SigBlk:\t0\nSigCgt:\tmany\n", process{}},
		"nothing":                      {"", "", process{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseProcess([]byte(tt.stat), []byte(tt.status))
			if failed := tt.want == (process{}); failed != (err != nil) || !failed && got != tt.want {
				t.Errorf("%+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	p := process{caught: 1<<(unix.SIGHUP-1) | 1<<63, blocked: 1 << (unix.SIGUSR2 - 1)}
	if !p.catches(unix.SIGHUP) || p.catches(unix.SIGUSR1) || !p.catches(unix.SIGUSR2) || !p.catches(64) || p.catches(0) || p.catches(65) {
		t.Error("signals are not told apart")
	}
	tini := process{pid: 1, name: "tini"}
	if !tini.catches(unix.SIGHUP) || tini.catches(0) {
		t.Error("an init without handlers passes signals on")
	}
	tini.pid = 7
	if tini.catches(unix.SIGHUP) {
		t.Error("any other process without handlers would end")
	}
}

// TestGoSignals: Go's runtime has a handler for nearly every signal. Whom the program wants to hear
// of is seen by a thread's blocked signals, as they were read from programs built with Go 1.26.
func TestGoSignals(t *testing.T) {
	const caught, caughtAll = 0xfffffffd7fc1fefd, 0xfffffffd7ffbfeff
	none, some, usr1 := "0000000000000000", "fffffffc3bba3a00", "fffffffc3bba3800"
	for name, tt := range map[string]struct {
		caught  uint64
		threads []string
		want    []unix.Signal
	}{
		"no signal.Notify":        {caught, []string{none, none}, nil},
		"a thread in C":           {caught, []string{none, "fffffffe7ffbfeff"}, nil},
		"for SIGTERM, or SIGHUP":  {caught, []string{none, some, none}, []unix.Signal{unix.SIGHUP}},
		"for SIGUSR1":             {caught, []string{none, usr1}, []unix.Signal{unix.SIGHUP, unix.SIGUSR1}},
		"for all":                 {caughtAll, []string{none, none}, []unix.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}},
		"nginx":                   {0x18016a07, []string{none}, []unix.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2}},
		"threads that are nobody": {caught, nil, nil},
	} {
		proc := t.TempDir()
		for i, blocked := range tt.threads {
			dir := filepath.Join(proc, "1/task", fmt.Sprint(i+1))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "status"), []byte("Name:\tapp\nSigBlk:\t"+blocked+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		p := process{pid: 1, caught: tt.caught}
		for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
			if got, want := p.handles(proc, s), slices.Contains(tt.want, s); got != want {
				t.Errorf("%s: handles %s: %v, want %v", name, unix.SignalName(s), got, want)
			}
		}
	}
}

// TestGoSignalsOfThisProcess checks that it is so with the Go that this is built with.
func TestGoSignalsOfThisProcess(t *testing.T) {
	p, err := readProcess("/proc", os.Getpid())
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	if !p.isGo() || !p.mayEndBy(unix.SIGHUP) || p.mayEndBy(unix.SIGUSR1) {
		t.Errorf("not taken for a program in Go: it catches %x", p.caught)
	}
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, unix.SIGUSR2)
	if !p.handles("/proc", unix.SIGUSR2) || p.handles("/proc", unix.SIGWINCH) {
		t.Error("signals are not told apart")
	}
	signal.Stop(heard)
	if p.handles("/proc", unix.SIGUSR2) {
		t.Error("handles what it does not want to hear of any more")
	}
}

// TestFirstProcess: process 1 where that is of lull's container, else the oldest that is. Where
// mounts cannot be compared, the control groups say so.
func TestFirstProcess(t *testing.T) {
	type seen struct {
		mounts string // "": not to be read
		start  int
		groups string // "": lull's
	}
	const ours, pause = "0::/\n", "0::/../cri-containerd-4242\n"
	for name, tt := range map[string]struct {
		processes map[int]seen
		groups    string // lull's, if others than ours
		want      int    // 0: none
	}{
		"its own PID namespace":       {map[int]seen{1: {mounts: "ours", start: 5}, 7: {mounts: "ours", start: 3}}, "", 1},
		"a shared one":                {map[int]seen{1: {mounts: "pause", start: 1}, 7: {mounts: "ours", start: 9}, 8: {mounts: "ours", start: 8}, 9: {mounts: "other", start: 2}}, "", 8},
		"started in the same tick":    {map[int]seen{1: {mounts: "pause", start: 1}, 17: {mounts: "ours", start: 9}, 8: {mounts: "ours", start: 9}}, "", 8},
		"nobody else":                 {map[int]seen{1: {mounts: "pause", start: 1}, 9: {mounts: "other", start: 2}}, "", 0},
		"process 1 shut off":          {map[int]seen{1: {start: 5}, 7: {mounts: "ours", start: 6}}, "", 1},
		"the same, in a group below":  {map[int]seen{1: {start: 5, groups: "0::/init.scope\n"}, 7: {mounts: "ours", start: 6}}, "", 1},
		"pause shut off":              {map[int]seen{1: {start: 1, groups: pause}, 7: {mounts: "ours", start: 6}}, "", 7},
		"the node's init shut off":    {map[int]seen{1: {start: 1, groups: "1:cpu:/init\n0::/\n"}, 7: {mounts: "ours", start: 6}}, "1:cpu:/kubepods/4242\n0::/\n", 7},
		"the app shut off, pause too": {map[int]seen{1: {start: 1, groups: pause}, 7: {start: 6}, 8: {mounts: "ours", start: 7}}, "", 7},
		"another container shut off":  {map[int]seen{1: {start: 1, groups: pause}, 7: {start: 6, groups: "0::/../cri-containerd-17\n"}, 8: {mounts: "ours", start: 7}}, "", 8},
		"groups unknown":              {map[int]seen{1: {start: 1, groups: "none"}, 7: {mounts: "ours", start: 6}}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			write := func(dir, mounts string, files map[string]string) {
				dir = filepath.Join(proc, dir)
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if mounts == "" {
					files["ns"] = "" // a file, so that what is in it cannot be looked at
				} else if err := cmp.Or(os.Mkdir(filepath.Join(dir, "ns"), 0o755), os.Symlink(mounts, filepath.Join(dir, "ns/mnt"))); err != nil {
					t.Fatal(err)
				}
				for file, text := range files {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			groups := cmp.Or(tt.groups, ours)
			write("self", "ours", map[string]string{"cgroup": groups})
			for pid, p := range tt.processes {
				write(fmt.Sprint(pid), p.mounts, map[string]string{
					"stat": aStat("app", p.start), "status": caughtHUP, "cgroup": cmp.Or(p.groups, groups),
				})
			}
			got, err := firstProcess(proc)
			if got.pid != tt.want || (err == nil) != (tt.want != 0) {
				t.Errorf("process %d, %v, want %d", got.pid, err, tt.want)
			}
		})
	}
}

func TestWithin(t *testing.T) {
	for name, tt := range map[string]struct {
		groups, others string
		want           bool
	}{
		"the same":           {"4:memory:/pod/a\n0::/\n", "4:memory:/pod/a\n0::/\n", true},
		"below":              {"0::/pod/a/init.scope\n", "0::/pod/a\n", true},
		"above":              {"0::/pod\n", "0::/pod/a\n", false},
		"beside":             {"0::/pod/b\n", "0::/pod/a\n", false},
		"a longer name":      {"0::/pod/ab\n", "0::/pod/a\n", false},
		"outside":            {"0::/../b\n", "0::/\n", false},
		"one of them beside": {"4:memory:/pod/b\n0::/\n", "4:memory:/pod/a\n0::/\n", false},
	} {
		if got, err := within(parseGroups([]byte(tt.groups)), parseGroups([]byte(tt.others))); got != tt.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "none\n", "4:memory:/pod/a\n"} {
		if got, err := within(parseGroups([]byte(text)), parseGroups([]byte("0::/\n"))); got || err == nil {
			t.Errorf("%q: is told apart", text)
		}
	}
	if got, err := within(nil, nil); got || err == nil {
		t.Error("nothing is within nothing")
	}
}

func FuzzParseProcess(f *testing.F) {
	f.Add([]byte(aStat("app", 42)), []byte(caughtHUP))
	f.Add([]byte("1 ()"), []byte("SigBlk:0\nSigCgt:"))
	f.Fuzz(func(t *testing.T, stat, status []byte) {
		p, err := parseProcess(stat, status)
		if err == nil && len(p.name) > len(stat) {
			t.Errorf("a name that is not there: %q", p.name)
		}
	})
}

func FuzzParseGroups(f *testing.F) {
	f.Add([]byte("4:memory:/pod/a\n0::/\n"))
	f.Add([]byte("0::"))
	f.Fuzz(func(t *testing.T, text []byte) {
		groups := parseGroups(text)
		if own, err := within(groups, groups); err == nil && !own && !strings.Contains(string(text), "..") {
			t.Errorf("%q is not within itself", text)
		}
	})
}
