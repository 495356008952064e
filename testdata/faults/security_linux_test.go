package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWritesNothing checks by its system calls that a hook writes no file but the story, opens no port,
// starts no process, and talks to nobody but the API server and the kernel.
func TestWritesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: hooks in real time")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	t.Parallel()
	for _, netlink := range []bool{true, false} {
		t.Run(map[bool]string{true: "netlink", false: "proc"}[netlink], func(t *testing.T) {
			t.Parallel()
			f := harmless("traced", "", nil)
			f.most = 15 * time.Second // tracing takes its time
			calls := filepath.Join(t.TempDir(), "calls")
			story := filepath.Join(t.TempDir(), "story")
			f.before = func(t *testing.T, w *world) {
				if !netlink {
					w.hook.args = append(w.hook.args, "--source=proc")
				}
				w.hook.args = append(w.hook.args, "--log="+story)
				w.hook.wrap = `exec strace -f -qq -s 256 -o ` + calls + ` -e trace=%file,%network,%process,ftruncate,write "$0" "$@"`
			}
			port := 0
			f.after = func(_ *testing.T, w *world) { port = w.control.listenPort() }
			f.try(t)
			judgeCalls(t, calls, story, port)
		})
	}
}

// Calls that change a file system, and those that no hook has a use for.
var (
	changing = regexp.MustCompile(`^(creat|mkdir|mkdirat|mknod|mknodat|rename|renameat|renameat2|link|linkat|symlink|symlinkat|unlink|unlinkat|rmdir|truncate|ftruncate|chmod|fchmodat|chown|fchownat|setxattr|mount|umount2)\(`)
	starting = regexp.MustCompile(`^(fork|vfork|listen|accept4?|execve)\(`)
	writable = regexp.MustCompile(`^open(at2?)?\((AT_FDCWD, )?"([^"]*)".*\b(O_WRONLY|O_RDWR|O_CREAT)\b`)
	peer     = regexp.MustCompile(`^(?:connect|sendto|sendmsg)\(.*sa_family=AF_(\w+)(?:, sin6?_port=htons\((\d+)\))?`)
)

func judgeCalls(t *testing.T, calls, story string, port int) {
	t.Helper()
	f, err := os.Open(calls)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen, executed, asked := 0, 0, 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, call, _ := strings.Cut(lines.Text(), " ")
		call = strings.TrimSpace(call)
		seen++
		switch m := writable.FindStringSubmatch(call); {
		case strings.HasPrefix(call, "execve("):
			executed++ // lull itself
		case changing.MatchString(call), starting.MatchString(call):
			t.Errorf("it calls %s", call)
		case m != nil && m[3] != story && !slices.Contains([]string{"/dev/null", "/dev/tty"}, m[3]):
			t.Errorf("it opens for writing: %s", call)
		}
		if m := peer.FindStringSubmatch(call); m != nil && m[1] != "NETLINK" {
			if m[2] != strconv.Itoa(port) {
				t.Errorf("it talks to somebody else than the API server at %d: %s", port, call)
			}
			asked++
		}
	}
	if seen < 50 || executed != 1 || asked == 0 {
		t.Errorf("%d calls, %d programs, the API server called %d times: is this lull?", seen, executed, asked)
	}
}

// TestOpensNoPort checks that nothing listens in the middle of a hook but the app and the API server.
func TestOpensNoPort(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: hooks in real time")
	}
	t.Parallel()
	f := harmless("ports", "", nil)
	f.during = func(t *testing.T, w *world) {
		if !w.middle() {
			t.Error("it has ended")
			return
		}
		for _, name := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "unix"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", w.hook.Process.Pid, name))
			if err != nil {
				t.Error(err)
			}
			for i, row := range strings.Split(strings.TrimSpace(string(text)), "\n") {
				fields := strings.Fields(row)
				listens := strings.HasPrefix(name, "tcp") && len(fields) > 3 && fields[3] == "0A"
				own := listens && (strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", w.app.port)) || strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", w.control.listenPort())))
				if i > 0 && (listens && !own || !strings.HasPrefix(name, "tcp")) {
					t.Errorf("%s: %s", name, row)
				}
			}
		}
	}
	f.try(t)
}
