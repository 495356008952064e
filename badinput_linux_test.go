package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"
)

// wrongValues are wrong for every flag of a type. A flag of another type needs values here, or the
// tests fail.
var wrongValues = map[string][]string{
	"time.Duration":     {"", "5", "-1s", "NaN", "Infs", "1e3s", "5 s", "5s5", "99999999999999h", "soon", "0x5s", "５s"},
	"main.autoDuration": {"", "0", "0s", "5", "-1s", "NaN", "1e3s", "99999999999999h", "Auto"},
	"*main.drainer":     {"", "NOSUCHSIGNAL", "-1", "99999999999", "http://", "http://10.0.0.1/drain", "ftp://127.0.0.1/", "http://127.0.0.1:99999/"},
	"main.openLimit":    {"", "-1", "1.5", "NaN", "99999999999999999999", "Any"},
	"[]main.cidr":       {"", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0", "somewhere", "-1"},
	"[]main.port":       {"", "0", "-1", "65536", "99999999999999999999", "8080:80", "-web", "web-", "a b", "Web", "NaN"},
	"bool":              {"maybe", "2", "-1", "NaN"},
	"[]string":          {""},
	"main.offSwitch":    nil, // any reason sets it
	"string":            nil, // whatever it is, it is found out later: TestStrangeStrings
}

// wrongFor are wrong for one flag. Where there is an entry it stands for the type's.
var wrongFor = map[string][]string{
	"quiet": append([]string{"0", "0s", "-0s"}, wrongValues["time.Duration"]...),
}

// hookFlagsOf are the flags of the hook.
func hookFlagsOf(t *testing.T) []*kong.Flag {
	for _, node := range newParser(&cli{}).Model.Children {
		if node.Name == "wait" {
			return node.Flags
		}
	}
	t.Fatal("no command wait")
	return nil
}

func wrongOf(t *testing.T, f *kong.Flag) []string {
	t.Helper()
	values, ok := wrongFor[f.Name]
	switch {
	case f.Enum != "":
		return []string{"", "no-such-word", "0", strings.ToUpper(f.Default)}
	case !ok:
		values, ok = wrongValues[f.Target.Type().String()]
	}
	if !ok {
		t.Errorf("--%s: no wrong values for the type %s", f.Name, f.Target.Type())
	}
	return values
}

// TestWrongValues checks that each wrong value of each flag is told in a line that names the flag,
// and drops that flag alone.
func TestWrongValues(t *testing.T) {
	unsetFlags(func(string, string) bool { return true })
	var defaults cli
	if _, err := newParser(&defaults).Parse(nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range hookFlagsOf(t) {
		for _, value := range wrongOf(t, f) {
			t.Run(fmt.Sprintf("%s=%q", f.Name, value), func(t *testing.T) {
				flag := "--" + f.Name
				check := func(how string, wrong []error, c *cli) {
					t.Helper()
					if len(wrong) != 1 || strings.ContainsAny(fmt.Sprint(wrong), "\n\r") {
						t.Errorf("%s: %q", how, wrong)
						return
					}
					if text := wrong[0].Error(); !strings.Contains(text, flag) && !strings.Contains(text, f.Envs[0]) {
						t.Errorf("%s: does not say which flag: %s", how, text)
					}
					if got, want := c.Wait.Reserve, 3*time.Second; how != "in the environment" && f.Name != "reserve" && got != want {
						t.Errorf("%s: drops --reserve, too", how)
					}
					c.Wait.Reserve = defaults.Wait.Reserve
					if !reflect.DeepEqual(c.Wait.hookFlags, defaults.Wait.hookFlags) || !reflect.DeepEqual(c.Wait.storyFlags, defaults.Wait.storyFlags) {
						t.Errorf("%s: has an effect: %+v", how, c.Wait)
					}
				}
				other := []string{}
				if f.Name != "reserve" {
					other = []string{"--reserve=3s"}
				}
				c, wrong := parseRight(append(other, flag+"="+value))
				check("on the command line", wrong, c)
				if value != "" {
					t.Setenv(f.Envs[0], value)
					c, wrong = parseRight(nil)
					check("in the environment", wrong, c)
				}
			})
		}
	}
}

// TestWrongUsageInAHook checks for each flag, with the last of its wrong values, and for what is no
// flag at all, that a hook says so, waits with the rest all the same, and ends with exit code 2;
// and that on a terminal it ends at once.
func TestWrongUsageInAHook(t *testing.T) {
	path := shippedBinary(t)
	t.Parallel()
	wrong := map[string]string{
		"unknown flag": "--no-such-flag=1s", "unknown argument": "nothing", "no flag": "-", "empty argument": "",
		"no window": "--quiet=0s",
	}
	variables := map[string]string{} // the same in the environment
	for _, f := range hookFlagsOf(t) {
		if values := wrongOf(t, f); len(values) > 0 {
			last := values[len(values)-1]
			wrong["--"+f.Name] = "--" + f.Name + "=" + last
			if last != "" {
				variables["--"+f.Name] = f.Envs[0] + "=" + last
			}
		}
	}
	for name, arg := range wrong {
		args := []string{"--port=9", "--quiet=400ms", "--log=none", "--format=json", "--endpoints=skip"}
		least := 400 * time.Millisecond
		for i, a := range args { // no flag twice
			if flag, _, _ := strings.Cut(a, "="); flag == name {
				args[i] = "--debug"
			}
		}
		if strings.HasPrefix(arg, "--quiet") {
			args[1], least = "--debug", 5*time.Second
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkWrongUsage(t, detached{path: path}, least, append(args, arg))
		})
		if v := variables[name]; v != "" {
			t.Run(name+", in the environment", func(t *testing.T) {
				t.Parallel()
				checkWrongUsage(t, detached{path: path, env: []string{v}}, least, args)
			})
		}
	}
}

// checkWrongUsage runs what is wrong as a hook and on a terminal.
func checkWrongUsage(t *testing.T, d detached, least time.Duration, args []string) {
	t.Helper()
	most := least + 2*time.Second
	code, held, out := d.inTime(t, most, args...)
	if code != exitUsage || held < least || held > most {
		t.Errorf("in a hook: exit code %d after %s: %s", code, held, out)
	}
	if n := strings.Count(out, `"event":"usage"`); n != 1 {
		t.Errorf("in a hook: %d lines on it: %s", n, out)
	}
	d.terminal = true
	code, held, out = d.inTime(t, 2*time.Second, args...)
	if code != exitUsage || held > 2*time.Second || strings.Count(out, "\n") != 2 || !strings.Contains(out, "lull: wrong usage: ") || !strings.Contains(out, "hint: see lull wait --help") {
		t.Errorf("on a terminal: exit code %d after %s: %s", code, held, out)
	}
}

// detached is lull in a session of its own, with or without a terminal.
type detached struct {
	path     string
	terminal bool
	env      []string
}

func (d detached) run(t *testing.T, args ...string) (code int, held time.Duration, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, d.path, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Env = append(os.Environ(), d.env...)
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if d.terminal {
		master, slave := openTerminal(t)
		defer master.Close()
		defer slave.Close()
		c.Stdin = slave
		c.SysProcAttr.Setctty = true
	}
	start := time.Now()
	_ = c.Run() // the exit code tells
	return c.ProcessState.ExitCode(), time.Since(start), said.String()
}

// inTime runs it up to three times until it is in time: late alone proves nothing on a machine that
// others use.
func (d detached) inTime(t *testing.T, most time.Duration, args ...string) (code int, held time.Duration, out string) {
	t.Helper()
	for range 3 {
		if code, held, out = d.run(t, args...); held <= most {
			break
		}
	}
	return code, held, out
}

// openTerminal opens a pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs a terminal: ", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// TestStrangeValues checks what is right by itself and makes no sense: the hook ends with its
// window or with its budget, and neither before nor after.
func TestStrangeValues(t *testing.T) {
	path := shippedBinary(t)
	t.Parallel()
	const longest = "2562047h47m16.854775807s" // time.Duration's
	for _, tt := range []struct {
		args        string
		code        int
		least, most time.Duration
		says        string
	}{
		{"--quiet=2s --timeout=1s", 3, time.Second, 1500 * time.Millisecond, "do not fit in"},
		{"--quiet=300ms --min=9s --timeout=1s", 3, time.Second, 1500 * time.Millisecond, "do not fit in"},
		{"--quiet=2s --timeout=1s --on-timeout=pass", 0, time.Second, 1500 * time.Millisecond, "do not fit in"},
		{"--quiet=" + longest + " --timeout=1s", 3, time.Second, 1500 * time.Millisecond, "do not fit in"},
		{"--quiet=" + longest + " --min=" + longest + " --timeout=1s", 3, time.Second, 1500 * time.Millisecond, "do not fit in"},
		{"--quiet=400ms --min=" + longest + " --timeout=1s", 3, time.Second, 1500 * time.Millisecond, "do not fit in"},
		{"--quiet=400ms --keepalive-wait=" + longest, 0, 400 * time.Millisecond, 2 * time.Second, "quiet for"},
		{"--quiet=400ms --reserve=" + longest, 0, 400 * time.Millisecond, 2 * time.Second, "quiet for"},
		{"--quiet=400ms --timeout=" + longest, 0, 400 * time.Millisecond, 2 * time.Second, "quiet for"},
		{"--quiet=400ms --timeout=1ns", 3, 0, time.Second, "do not fit in"},
		{"--quiet=1ns", 0, 0, time.Second, "quiet for"},
		{"--quiet=400ms --min=0 --keepalive-wait=0 --reserve=0", 0, 400 * time.Millisecond, 2 * time.Second, "quiet for"},
		{"--quiet=400ms --max-open=2147483647", 0, 400 * time.Millisecond, 2 * time.Second, "quiet for"},
		{"--quiet=400ms --ignore=0.0.0.0/0 --ignore=::/0", 0, 400 * time.Millisecond, 2 * time.Second, "quiet for"},
		{"--quiet=400ms --log=/nonexistent/log", 0, 400 * time.Millisecond, 2 * time.Second, "cannot open the log"},
		{"--quiet=400ms --log=/", 0, 400 * time.Millisecond, 2 * time.Second, "cannot open the log"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--port=9", "--endpoints=skip", "--format=text"}, strings.Fields(tt.args)...)
			if !strings.Contains(tt.args, "--log") {
				args = append(args, "--log=none")
			}
			code, held, out := detached{path: path}.inTime(t, tt.most, args...)
			if code != tt.code || held < tt.least || held > tt.most || !strings.Contains(out, tt.says) {
				t.Errorf("exit code %d after %s: %s", code, held, out)
			}
		})
	}
}

// TestStrangeStrings gives each flag that takes any text what is no name and no file of its kind:
// the hook ends with its window, in each case.
func TestStrangeStrings(t *testing.T) {
	path := shippedBinary(t)
	t.Parallel()
	dir := t.TempDir()
	fifo, huge := filepath.Join(dir, "fifo"), filepath.Join(dir, "huge")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, 100<<20)); err != nil { // sparse
		t.Fatal(err)
	}
	for _, f := range hookFlagsOf(t) {
		if f.Enum != "" || f.Target.Kind() != reflect.String {
			continue
		}
		for name, value := range map[string]string{
			"a directory": "/", "a FIFO": fifo, "a huge file": huge,
			"two lines": filepath.Join(dir, "a\nb"), "not UTF-8": filepath.Join(dir, "\xff\xfe"), "long": strings.Repeat("x", 5000),
		} {
			t.Run(f.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				args := []string{"--port=9", "--quiet=400ms", "--timeout=5s", "--format=json", "--" + f.Name + "=" + value}
				if f.Name != "log" {
					args = append(args, "--log=none")
				}
				code, held, out := detached{path: path}.inTime(t, 2400*time.Millisecond, args...)
				if code != exitQuiet || held < 400*time.Millisecond || held > 2400*time.Millisecond {
					t.Errorf("exit code %d after %s: %s", code, held, out)
				}
				for line := range strings.Lines(out) {
					if !json.Valid([]byte(line)) {
						t.Errorf("no event: %q", line)
					}
				}
			})
		}
	}
}
