package procnet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeProc is a /proc/net that the test writes.
type fakeProc struct {
	root                       string
	opens, segs, acks, drops   int
	rows                       []string
	noSnmp, noNetstat, noTable bool
}

// procRow is a row of the table.
func procRow(local, peer string, state uint8, left time.Duration) string {
	timer := "00"
	if state == stateTimeWait {
		timer = "03"
	}
	return fmt.Sprintf("   0: %s %s %02X 00000000:00000000 %s:%08X 00000000 0 0 0", procAddr(local), procAddr(peer), state, timer, int64(left/(10*time.Millisecond)))
}

func procAddr(s string) string {
	a := netip.MustParseAddrPort(s)
	b := a.Addr().As4()
	return fmt.Sprintf("%08X:%04X", native.Uint32(b[:]), a.Port())
}

func (f *fakeProc) write(t *testing.T) {
	t.Helper()
	files := map[string]string{
		"snmp":    fmt.Sprintf("Tcp: PassiveOpens InSegs\nTcp: %d %d\n", f.opens, f.segs),
		"netstat": fmt.Sprintf("TcpExt: TCPPureAcks ListenDrops\nTcpExt: %d %d\n", f.acks, f.drops),
		"tcp":     "heading\n" + strings.Join(append(f.rows, ""), "\n"),
	}
	for name, text := range files {
		if f.noSnmp && name == "snmp" || f.noNetstat && name == "netstat" || f.noTable && name == "tcp" {
			continue
		}
		if err := os.WriteFile(filepath.Join(f.root, "net", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func newFakeProc(t *testing.T, rows ...string) *fakeProc {
	t.Helper()
	return &fakeProc{root: newProcRoot(t), opens: 100, segs: 1000, acks: 500, rows: rows}
}

func (f *fakeProc) open(t *testing.T) *procSource {
	t.Helper()
	f.write(t)
	s, err := openProc(options{procRoot: f.root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// look changes the files while no tick reads them, and looks.
func (f *fakeProc) look(t *testing.T, s *procSource, change func(), ports ...uint16) string {
	t.Helper()
	s.sampler.mu.Lock()
	change()
	f.write(t)
	s.sampler.mu.Unlock()
	start := time.Now()
	var list []string
	_, err := s.Arrivals(context.Background(), ports, func(a Arrival) {
		text := fmt.Sprintf("%d %s :%d", a.Count, a.Kind, a.Port)
		if a.Peer.IsValid() {
			text += " " + a.Peer.String()
		}
		if age := start.Sub(a.At); age > 5*time.Second {
			text += fmt.Sprintf(" %s ago", age.Round(time.Second))
		}
		list = append(list, text)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, ", ")
}

const (
	procListen = "0.0.0.0:80"
	procOther  = "0.0.0.0:81"
	nobody     = "0.0.0.0:0"
)

func listenRows() []string {
	return []string{procRow(procListen, nobody, stateListen, 0), procRow(procOther, nobody, stateListen, 0)}
}

func TestProcAttribution(t *testing.T) {
	idle := procRow("10.0.0.1:80", "10.0.0.8:1000", 1, 0)
	tests := []struct {
		name   string
		before []string // rows at the start besides the listeners
		change func(*fakeProc)
		want   string
	}{
		{"nothing", nil, func(f *fakeProc) {}, ""},
		{"pure ACKs", []string{idle}, func(f *fakeProc) { f.segs += 5; f.acks += 5 }, ""},
		{"data, but nobody is connected", nil, func(f *fakeProc) { f.segs += 5 }, ""},
		{"data, and somebody is", []string{idle}, func(f *fakeProc) { f.segs++ }, "1 request :0 10.0.0.8:0"},
		{"data, and two are", []string{idle, procRow("10.0.0.1:80", "10.0.0.9:1000", 1, 0)},
			func(f *fakeProc) { f.segs++ }, "1 request :0"},
		{"data, and somebody was",
			[]string{idle}, func(f *fakeProc) { f.segs++; f.rows = listenRows() }, "1 request :0 10.0.0.8:0"},
		{"data, and somebody had closed long before", []string{procRow("10.0.0.1:80", "10.0.0.8:1000", stateTimeWait, time.Second)},
			func(f *fakeProc) { f.segs++ }, ""},
		{"a new connection", nil, func(f *fakeProc) { f.segs++; f.opens++; f.rows = append(f.rows, idle) },
			"1 connection :80 10.0.0.8:1000"},
		{"a repeated row", nil, func(f *fakeProc) { f.segs++; f.opens++; f.rows = append(f.rows, idle, idle) },
			"1 connection :80 10.0.0.8:1000"},
		{"a short one", nil, func(f *fakeProc) { f.segs++; f.opens += 2 }, "2 connection :0"},
		{"one closed by the server", nil, func(f *fakeProc) {
			f.segs++
			f.opens++
			f.rows = append(f.rows, procRow("10.0.0.1:80", "10.0.0.8:1000", stateTimeWait, timeWait))
		}, "1 connection :80 10.0.0.8:1000"},
		{"one closed by the server, and a short one", nil, func(f *fakeProc) {
			f.segs++
			f.opens += 2
			f.rows = append(f.rows, procRow("10.0.0.1:80", "10.0.0.8:1000", stateTimeWait, timeWait))
		}, "1 connection :80 10.0.0.8:1000, 1 connection :0"},
		{"a kernel that forgets closed ones sooner", nil, func(f *fakeProc) {
			f.segs++
			f.opens++
			f.rows = append(f.rows, procRow("10.0.0.1:80", "10.0.0.8:1000", stateTimeWait, 5*time.Second))
		}, "1 connection :80 10.0.0.8:1000"},
		{"another port's", nil, func(f *fakeProc) {
			f.segs++
			f.opens++
			f.rows = append(f.rows, procRow("10.0.0.1:81", "10.0.0.8:1000", 1, 0))
		}, ""},
		{"another port's, and a short one", nil, func(f *fakeProc) {
			f.segs++
			f.opens += 2
			f.rows = append(f.rows, procRow("10.0.0.1:81", "10.0.0.8:1000", 1, 0))
		}, "1 connection :0"},
		{"one the pod opened explains nothing", nil, func(f *fakeProc) {
			f.segs++
			f.opens++
			f.rows = append(f.rows, procRow("10.0.0.1:5555", "10.0.0.8:443", 1, 0))
		}, "1 connection :0"},
		{"half-open", nil, func(f *fakeProc) {
			f.segs++
			f.rows = append(f.rows, procRow("10.0.0.1:80", "10.0.0.8:1000", stateSynRecv, 0))
		}, "1 connection :80 10.0.0.8:1000"},
		{"the same addresses again", []string{procRow("10.0.0.1:80", "10.0.0.8:1000", stateTimeWait, time.Second)},
			func(f *fakeProc) { f.segs++; f.opens++; f.rows = append(listenRows(), idle) }, "1 connection :80 10.0.0.8:1000"},
		{"turned away", nil, func(f *fakeProc) { f.segs += 3; f.drops += 3 }, "3 dropped :0"},
		{"a counter that starts over", []string{idle}, func(f *fakeProc) { f.opens, f.segs, f.acks = 0, 0, 0 },
			"1 lost :0, 1 request :0 10.0.0.8:0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeProc(t, append(listenRows(), tt.before...)...)
			s := f.open(t)
			if got := f.look(t, s, func() { tt.change(f) }, 80); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			f.rows = slicesWithout(f.rows, fmt.Sprintf(" %02X ", stateSynRecv))
			if got := f.look(t, s, func() {}, 80); got != "" {
				t.Errorf("again: %q", got)
			}
		})
	}
}

func slicesWithout(rows []string, part string) (rest []string) {
	for _, r := range rows {
		if !strings.Contains(r, part) {
			rest = append(rest, r)
		}
	}
	return rest
}

// A connection that comes while the tables are being read, after its queue was.
func TestProcQueueReadBeforeItFilled(t *testing.T) {
	idle := procRow("10.0.0.1:80", "10.0.0.8:1000", 1, 0)
	f := newFakeProc(t, append(listenRows(), idle)...)
	s := f.open(t)
	f.look(t, s, func() {}, 81)
	s.sampler.mu.Lock()
	f.segs++
	f.write(t)
	s.sampler.mu.Unlock()
	s.took = 0 // so there is a pass
	_, err := s.Arrivals(t.Context(), []uint16{80}, func(a Arrival) {
		if a.Kind == Lost { // port 80 is new: the counters have been read, the tables not
			s.sampler.mu.Lock()
			f.segs, f.opens = f.segs+2, f.opens+1
			f.rows = append(f.rows, procRow("10.0.0.1:80", "10.0.0.9:1000", 1, 0))
			f.write(t)
			s.sampler.mu.Unlock()
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.took = time.Hour // a pass that is worth sparing
	got := f.look(t, s, func() { f.rows[0] = strings.Replace(f.rows[0], ":00000000 00:", ":00000001 00:", 1) }, 80)
	if !strings.Contains(got, "1 waiting :80") {
		t.Errorf("%q: one connection waits", got)
	}
}

// A close is dated by what the kernel's timer has left.
func TestProcDatesCloses(t *testing.T) {
	f := newFakeProc(t, listenRows()...)
	s := f.open(t)
	s.before.at -= time.Minute // as if the last look had been a minute ago
	got := f.look(t, s, func() {
		f.segs++
		f.opens++
		f.rows = append(f.rows, procRow("10.0.0.1:80", "10.0.0.8:1000", stateTimeWait, 40*time.Second))
	}, 80)
	if want := "1 connection :80 10.0.0.8:1000 20s ago"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProcWithoutNetstat(t *testing.T) {
	f := newFakeProc(t, append(listenRows(), procRow("10.0.0.1:80", "10.0.0.8:1000", 1, 0))...)
	f.noNetstat = true
	s := f.open(t)
	if got := f.look(t, s, func() { f.segs++; f.acks++ }, 80); got != "1 request :0 10.0.0.8:0" {
		t.Errorf("every segment counts, but %q", got)
	}
}

// A sandbox may have the names of netstat alone, and list sockets in any order.
func TestProcInSandbox(t *testing.T) {
	s, err := openProc(options{procRoot: testdataProc(t, "sandbox")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n, _ := s.known.countLive(portsOf([]uint16{8080})); n != 1 {
		t.Errorf("%d connections known, want 1", n)
	}
}

// A sandbox may show neither the length of an accept queue nor a connection in it. A connection
// that appears without having been opened just now has been accepted, perhaps only a moment ago.
func TestProcWithHiddenQueues(t *testing.T) {
	for _, noNetstat := range []bool{false, true} {
		f := newFakeProc(t, listenRows()...)
		f.acks, f.noNetstat = 0, noNetstat
		s := f.open(t)
		ago := func(d time.Duration) { // what has been counted came that much earlier
			s.base = s.base.Add(-d)
			s.sampler.base = s.base
		}
		s.sampler.mu.Lock()
		f.opens, f.segs = f.opens+1, f.segs+3
		f.write(t)
		s.sampler.mu.Unlock()
		if _, err := s.sampler.tick(); err != nil {
			t.Fatal(err)
		}
		if got := f.look(t, s, func() { ago(20 * time.Second) }, 80); got != "1 connection :0 20s ago" {
			t.Errorf("it came: %q", got)
		}
		got := f.look(t, s, func() {
			ago(time.Minute)
			f.rows = append(f.rows, procRow("10.0.0.1:80", "10.0.0.8:1000", 1, 0))
		}, 80)
		if got != "1 connection :80 10.0.0.8:1000" {
			t.Errorf("it was accepted: %q", got)
		}
		if got := f.look(t, s, func() {}, 80); got != "" {
			t.Errorf("again: %q", got)
		}
	}
}

func TestProcErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fakeProc)
		want   string
	}{
		{"no counters", func(f *fakeProc) { f.noSnmp = true }, "snmp"},
		{"no table", func(f *fakeProc) { f.noTable = true }, "tcp"},
		{"a table of nonsense", func(f *fakeProc) { f.rows = []string{"x"} }, `"x"`},
		{"neither", func(f *fakeProc) { f.noSnmp, f.noTable = true, true }, "snmp"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeProc(t)
			tt.change(f)
			f.write(t)
			s, err := openProc(options{procRoot: f.root})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.HasPrefix(err.Error(), "proc: ") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q", err)
			}
		})
	}
}

// A sandbox may have all columns, and 0 in each of them for ever. Linux shows 1 in
// RtoAlgorithm even if nothing has ever come.
func TestProcNeedsCountersThatCount(t *testing.T) {
	for algorithm, opens := range map[int]bool{1: true, 0: false} {
		f := newFakeProc(t, listenRows()...)
		f.opens, f.segs, f.acks = 0, 0, 0
		f.write(t)
		text := fmt.Sprintf("Tcp: RtoAlgorithm PassiveOpens InSegs\nTcp: %d 0 0\n", algorithm)
		if err := os.WriteFile(filepath.Join(f.root, "net", "snmp"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := openProc(options{procRoot: f.root})
		if (err == nil) != opens {
			t.Errorf("RtoAlgorithm %d: %v", algorithm, err)
		}
		if err == nil {
			s.Close()
		} else if !strings.Contains(err.Error(), "net/snmp: the counters do not count") {
			t.Errorf("error %q", err)
		}
	}
}

// Counters that cannot be read any more are an error, never silence.
func TestProcGoesAway(t *testing.T) {
	f := newFakeProc(t, listenRows()...)
	s := f.open(t)
	s.sampler.mu.Lock()
	if err := os.Truncate(filepath.Join(f.root, "net", "snmp"), 0); err != nil {
		t.Fatal(err)
	}
	s.sampler.mu.Unlock()
	if _, err := s.Arrivals(t.Context(), nil, func(Arrival) {}, nil); err == nil {
		t.Error("no error")
	}
}

// FuzzProc opens the source on one set of files, and looks at another.
func FuzzProc(f *testing.F) {
	for _, name := range []string{"linux-6.18", "old"} {
		dir := name + "/net/"
		f.Add(readTestdata(f, dir+"snmp"), readTestdata(f, dir+"netstat"), readTestdata(f, dir+"tcp"), readTestdata(f, dir+"tcp"))
	}
	root := newProcRoot(f)
	f.Fuzz(func(t *testing.T, snmp, netstat, before, after []byte) {
		writeCounters(t, root, "Tcp: PassiveOpens InSegs\nTcp: 1 2\n", "TcpExt: TCPPureAcks\nTcpExt: 0\n")
		table := filepath.Join(root, "net", "tcp")
		if err := os.WriteFile(table, before, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := openProc(options{procRoot: root})
		if err != nil {
			return
		}
		defer s.Close()
		s.sampler.mu.Lock()
		writeCounters(t, root, string(snmp), string(netstat))
		s.sampler.mu.Unlock()
		if err := os.WriteFile(table, after, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, ports := range [][]uint16{nil, {80, 8080}} {
			_, _ = s.Arrivals(t.Context(), ports, func(a Arrival) {
				if a.Count < 1 || a.At.IsZero() || a.At.After(time.Now()) {
					t.Errorf("arrival %+v", a)
				}
			}, func(c Conn) {
				if c.ID == 0 || c.Opened.IsZero() {
					t.Errorf("connection %+v", c)
				}
			})
			_, _ = s.Queued(t.Context(), ports)
		}
	})
}
