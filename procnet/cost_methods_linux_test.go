package procnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"lull/testdata/crowd"
)

// method is a way to learn what the connections on a port have received.
type method struct {
	name string
	open func(port uint16) (looker, error)
	// argv: it is a process, started for each look.
	argv func(port uint16) []string
}

// looker is a method at work.
type looker struct {
	look  func() (int, error) // tells how many connections it found on the port, -1 if it cannot know
	close func() error
}

// yardstick is the method that the others are compared with.
const yardstick = "ss -Htn, port filter"

var methods = []method{
	{name: "lull, netlink", open: lullNetlink},
	{name: "lull, /proc", open: lullProc},
	command(yardstick, true, "-Htn"),
	command("ss -Htin, port filter", true, "-Htin"),
	command("ss -Htn", false, "-Htn"),
	command("ss -Htin", false, "-Htin"),
	{name: "sock_diag by family, port filter", open: byFamily},
	{name: "procfs NetTCP + NetTCP6", open: procfsTables},
}

func lullNetlink(port uint16) (looker, error) {
	s, err := openNetlink(defaults())
	if err != nil {
		return looker{}, err
	}
	ports := portsOf([]uint16{port})
	return looker{close: s.Close, look: func() (int, error) {
		// A look as after traffic, but for the wait for late events.
		err := s.listeners.dump(context.Background(), s.dumper)
		if err == nil {
			err = s.dumpConnections(context.Background(), ports, func(Arrival) {})
		}
		s.known.sweep(0)
		return len(s.known.conns), err
	}}, nil
}

func lullProc(port uint16) (looker, error) {
	s, err := openProc(defaults())
	if err != nil {
		return looker{}, err
	}
	ports := portsOf([]uint16{port})
	return looker{close: s.Close, look: func() (int, error) {
		err := s.readTables(context.Background(), &pass{ports: ports, yield: func(Arrival) {}})
		n, _ := s.known.countLive(ports)
		return n, err
	}}, nil
}

// byFamily is lull's dump, asked for as the newer request wants it: a walk for each address family.
func byFamily(port uint16) (looker, error) {
	d, err := openDumper()
	if err != nil {
		return looker{}, err
	}
	return looker{close: d.Close, look: func() (n int, err error) {
		for _, family := range []uint8{familyInet, familyInet6} {
			d.seq++
			if _, err := d.file.Write(familyRequest(d.seq, family, port)); err != nil {
				return n, err
			}
			for done := false; !done; {
				got, err := d.file.Read(d.buf)
				if err == nil {
					done, err = d.parse(d.buf[:got], func(*row) { n++ })
				}
				if err != nil {
					return n, err
				}
			}
		}
		return n, nil
	}}, nil
}

// familyRequest is a struct inet_diag_req_v2.
func familyRequest(seq uint32, family uint8, port uint16) []byte {
	b := make([]byte, 56)
	b[0], b[1], b[2] = family, unix.IPPROTO_TCP, 1<<(attrInfo-1)
	native.PutUint32(b[4:], openStates)
	b[8], b[9] = byte(port>>8), byte(port)
	return withHeader(msgByFamily, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, seq, b)
}

func procfsTables(port uint16) (looker, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return looker{}, err
	}
	return looker{close: none, look: func() (n int, err error) {
		v4, err := fs.NetTCP() //nolint:staticcheck // deprecated for what the table shows
		if err != nil {
			return 0, err
		}
		v6, err := fs.NetTCP6() //nolint:staticcheck // as above
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		for _, line := range append(v4, v6...) {
			if line.LocalPort == uint64(port) && line.St != stateListen && line.St != stateTimeWait {
				n++
			}
		}
		return n, nil
	}}, nil
}

func none() error { return nil }

// command is ss, with a filter or without.
func command(name string, filter bool, flags string) method {
	argv := func(port uint16) []string {
		if !filter {
			return []string{"ss", flags}
		}
		return []string{"ss", flags, "sport = :" + portString(port)}
	}
	return method{name: name, argv: argv, open: func(port uint16) (looker, error) {
		if _, err := exec.LookPath("ss"); err != nil {
			return looker{}, err
		}
		return looker{close: none, look: func() (int, error) {
			a := argv(port)
			return -1, exec.Command(a[0], a[1:]...).Run()
		}}, nil
	}}
}

// setting is a machine with connections.
type setting struct {
	connections int
	mine        int // those on the watched port
}

func (s setting) String() string {
	switch {
	case s.connections == 0:
		return "0"
	case s.mine == s.connections:
		return thousands(s.connections)
	}
	return fmt.Sprintf("%s, %d%% mine", thousands(s.connections), 100*s.mine/s.connections)
}

func thousands(n int) string {
	if n%1000 == 0 {
		return fmt.Sprintf("%dk", n/1000)
	}
	return strconv.Itoa(n)
}

// settings are those that PROCNET_SIZES names, such as 0,1000,10000,100000;
// without it, two small ones.
func settings(t testing.TB) (list []setting) {
	sizes := os.Getenv("PROCNET_SIZES")
	if sizes == "" {
		sizes = "0,1000"
	}
	for _, text := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("PROCNET_SIZES: %v", err)
		}
		list = append(list, setting{n, n})
		if n > 0 {
			list = append(list, setting{n, n / 100})
		}
	}
	return list
}

const crowdPort, otherPort = 18080, 18081

// hold opens a setting's connections.
func (s setting) hold(t testing.TB) {
	t.Helper()
	needQuiet(t)
	// Those of one setting must not lie about in the next, as TIME_WAIT.
	setSysctl(t, "net/ipv4/tcp_max_tw_buckets", "0")
	var c crowd.Crowd
	t.Cleanup(c.Kill)
	err := c.Hold(crowdPort, s.mine)
	if err == nil {
		err = c.Hold(otherPort, s.connections-s.mine)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// methodEnv makes the test program a process that looks with one method and
// prints how much memory it took.
const methodEnv = "PROCNET_METHOD"

func peakOf(name string) int {
	for _, m := range methods {
		if m.name != name {
			continue
		}
		l, err := m.open(crowdPort)
		for range 3 {
			if err == nil {
				_, err = l.look()
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		status, _ := os.ReadFile("/proc/self/status")
		_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
		kib, _, _ := bytes.Cut(bytes.TrimSpace(after), []byte(" "))
		fmt.Printf("%s\n", kib)
		return 0
	}
	return 1
}

// peak is the method's peak memory in KiB, in a process of its own.
func (m method) peak(t testing.TB) int {
	t.Helper()
	var out []byte
	var err error
	if m.argv == nil {
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), methodEnv+"="+m.name)
		out, err = c.Output()
	} else {
		c := exec.Command("/usr/bin/time", append([]string{"-f", "%M"}, m.argv(crowdPort)...)...)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		err = c.Run()
		out = stderr.Bytes()
	}
	if err != nil {
		t.Skipf("needs /usr/bin/time: %v: %s", err, out)
	}
	kib, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
