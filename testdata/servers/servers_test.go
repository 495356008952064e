package servers

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"lull/testdata/markdown"
	"lull/testdata/ownnet"
)

const (
	readme    = "../../README.md"
	tableFile = "table.md"
)

const (
	runs   = 2
	atOnce = 3 // servers; most of the time they wait
	before = time.Second
	after  = 2500 * time.Millisecond
	grace  = 10 * time.Second // to end after SIGTERM, what lull leaves of a grace period
)

var (
	update   = flag.Bool("update", false, "write the table anew, here and in README.md")
	required = os.Getenv("LULL_SERVERS") == "required"
)

func TestMain(m *testing.M) {
	os.Exit(ownnet.Run(m.Run))
}

// TestServers measures every app, asked in each of its ways and ended by SIGTERM.
func TestServers(t *testing.T) {
	if !othersToBe() {
		skip(t, "servers that change their user need root")
	}
	var rows []*row
	running := make(chan struct{}, atOnce)
	t.Run("all", func(t *testing.T) {
		for _, a := range apps() {
			for _, w := range a.ways {
				r := &row{app: a, way: w.name, drained: make([]figures, runs), ended: make([]figures, runs)}
				rows = append(rows, r)
				t.Run(strings.NewReplacer("/", "", " ", "_", "`", "").Replace(a.name+", "+w.name), func(t *testing.T) {
					a.find(t)
					r.version = a.versionText(t)
					for i := range runs {
						t.Run(fmt.Sprintf("asked %d", i+1), func(t *testing.T) {
							t.Parallel()
							r.drained[i] = measure(t, running, a, func(p *process) error {
								defer time.Sleep(after)
								return w.do(p)
							})
							check(t, w.kind, r.drained[i])
						})
						t.Run(fmt.Sprintf("ended %d", i+1), func(t *testing.T) {
							t.Parallel()
							r.ended[i] = measure(t, running, a, (*process).terminate)
						})
					}
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	var measured []row
	for _, r := range rows {
		if r.drained[0].crowded > 0 {
			measured = append(measured, *r)
		}
	}
	text := table(measured)
	t.Log("\n" + text)
	if !*update {
		return
	}
	if len(measured) != len(rows) {
		t.Fatal("something is missing here: LULL_SERVERS=required says what")
	}
	if err := os.WriteFile(tableFile, []byte(text), 0o644); err != nil { //nolint:gosec // it is to be read
		t.Fatal(err)
	}
}

// othersToBe reports whether a server can take another user's rights: this is root, and not only
// in a user namespace that maps a single user (user_namespaces(7), uid_map).
func othersToBe() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	fields := strings.Fields(string(text))
	return err == nil && os.Getuid() == 0 && len(fields) >= 3 && fields[2] != "1"
}

// measure runs one server with its clients, and counts what became of them from when do was called
// until it returned.
func measure(t *testing.T, running chan struct{}, a app, do func(*process) error) figures {
	t.Helper()
	running <- struct{}{}
	t.Cleanup(func() { <-running }) // after the server has ended
	server := a.start(t, newPlace(t))
	speak := (*client).http1
	if a.http2 {
		speak = (*client).http2
	}
	crowd := crowdAt(server.target(), speak)
	t.Cleanup(func() {
		for i, x := range crowd.clients {
			if t.Failed() && len(x.failures) > 0 {
				t.Logf("client %d had %d failures, the last: %s", i, len(x.failures), x.failures[len(x.failures)-1])
			}
		}
	})
	time.Sleep(before)
	when := time.Now()
	err := do(server)
	crowd.end()
	if err != nil {
		t.Fatal(err)
	}
	f := count(crowd, when)
	t.Logf("%+v: %s", f, f.kind())
	return f
}

// check holds what a way to ask does to what it is known to do.
func check(t *testing.T, want kind, f figures) {
	t.Helper()
	if f.old != clients {
		t.Errorf("%d connections were open, not %d", f.old, clients)
	}
	if got := f.kind(); want != "" && got != want {
		t.Errorf("it lets a connection go %s; want: %s", got, want)
	}
	if want != softLasting {
		return
	}
	if f.losers+f.later > 0 {
		t.Errorf("%d clients lost a request on their old connection, %d on a later one or could not connect", f.losers, f.later)
	}
	if f.gone > time.Second {
		t.Errorf("the last connection was gone after %s", f.gone)
	}
}

// find looks for what the app needs.
func (a app) find(t *testing.T) {
	t.Helper()
	for _, what := range a.needs {
		if _, err := os.Stat(what); err == nil {
			continue
		}
		if _, err := exec.LookPath(what); err != nil {
			skip(t, what+" is not there")
		}
	}
}

var number = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)?`)

// versionText is the app's version, as it says itself.
func (a app) versionText(t *testing.T) string {
	t.Helper()
	if a.version == nil {
		return ""
	}
	text, err := exec.Command(a.version[0], a.version[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", a.version, err, text)
	}
	return number.FindString(string(text))
}

// skip skips the test, unless nothing may be skipped.
func skip(t *testing.T, why string) {
	t.Helper()
	if required {
		t.Fatal(why)
	}
	t.Skip(why)
}

// TestReadme holds README.md to the table.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range apps() {
		if title := (row{app: a}).title(); a.version == nil && !strings.Contains(string(text), title+" |") {
			t.Errorf("%s: no %q: LULL_SERVERS=required go test ./testdata/servers -update", tableFile, title)
		}
	}
	same, err := markdown.Section(readme, "apps", string(text), *update)
	if err != nil {
		t.Fatal(err)
	}
	if !same && !*update {
		t.Errorf("%s: not the table of %s: go test ./testdata/servers -run Readme -update", readme, tableFile)
	}
}
