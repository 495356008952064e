package faults

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lull/testdata/crowd"
)

func init() { crowd.Main() }

// sleeps is how long a hook sleeps that cannot see the sockets.
const sleeps = 15 * time.Second

// seen is a hook that sees the sockets all the same.
func seen(name, does string, before func(*testing.T, *world), says ...string) fault {
	return fault{
		name: name, does: does, why: "quiet", outside: true, calls: calls,
		least: quiet, most: calls + 2*quiet, before: before, says: says,
	}
}

// unseen is one that does not.
func unseen(name string, before, during func(*testing.T, *world), says ...string) fault {
	return fault{
		name: name, does: "says why, and sleeps for 15 s", why: "slept", outside: true, deaf: true,
		least: sleeps, most: sleeps + quiet, before: before, during: during, says: says,
	}
}

const (
	byProc   = "watches through /proc"
	netlink0 = "no netlink, watching the sockets through /proc"
)

// noNetlink lets seccomp refuse netlink.
func noNetlink(errno unix.Errno) func(*testing.T, *world) {
	return func(t *testing.T, w *world) { w.refuse(t, unix.SYS_SOCKET, 0, unix.AF_NETLINK, errno) }
}

// proc is a /proc that says what it is told, where netlink is refused.
func proc(change map[string]string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		noNetlink(unix.EPERM)(t, w)
		files := map[string]string{}
		for _, name := range []string{"snmp", "netstat", "tcp", "tcp6"} {
			text, err := os.ReadFile("/proc/net/" + name)
			if err != nil {
				t.Fatal(err)
			}
			files["7/net/"+name] = string(text)
		}
		for name, text := range change {
			files["7/net/"+name] = text
			if text == "" {
				delete(files, "7/net/"+name)
			}
		}
		w.cover(t, "/proc")
		w.write(t, "/proc", files)
		w.must(t, func() error {
			if err := os.Symlink("7", "/proc/self"); err != nil {
				return err
			}
			return os.Symlink("self/net", "/proc/net")
		})
	}
}

// then changes files of that /proc in the middle.
func then(files map[string]string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if w.within(leaves) {
			w.write(t, "/proc/7/net", files)
		}
	}
}

// back are counters that go back: what came meanwhile is not known.
func back(name string, from, to map[string]string) fault {
	return fault{
		name: name, does: "takes it for an arrival", why: "quiet", outside: true, deaf: true,
		least: leaves + quiet, most: leaves + 3*quiet, during: then(to), before: func(t *testing.T, w *world) {
			from["tcp"], from["tcp6"] = table+listening+idle, table
			proc(from)(t, w)
		},
	}
}

// netstat is what counts of /proc/net/netstat.
func netstat(pureAcks, drops int) string {
	return fmt.Sprintf("TcpExt: ListenOverflows ListenDrops TCPPureAcks\nTcpExt: 0 %d %d\n", drops, pureAcks)
}

// snmp is a whole /proc/net/snmp.
func snmp(opens, segs string) string {
	return "Ip: Forwarding DefaultTTL\nIp: 1 64\nIcmp: InMsgs\nIcmp: 0\nIcmpMsg: InType3\nIcmpMsg: 0\n" +
		"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n" +
		"Tcp: 1 200 120000 -1 10 " + opens + " 0 0 1 " + segs + " 100 0 0 0 0\n" +
		"Udp: InDatagrams\nUdp: 0\nUdpLite: InDatagrams\nUdpLite: 0\n"
}

const table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// A listener on port 8080, and a connection to it.
const (
	listening = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0\n"
	idle      = "   1: 0100000A:1F90 0800000A:03E8 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1\n"
)

var kernelFaults = group{"kernel", append(refusals(), []fault{
	seen("seccomp refuses to join the destroy groups", byProc, func(t *testing.T, w *world) {
		w.refuse(t, unix.SYS_SETSOCKOPT, 1, unix.SOL_NETLINK, unix.EPERM)
	}, netlink0),
	seen("seccomp refuses to connect to the kernel", byProc, func(t *testing.T, w *world) {
		w.refuse(t, unix.SYS_CONNECT, 2, unix.SizeofSockaddrNetlink, unix.EACCES)
	}, netlink0),
	unseen("no netlink, and no /proc/net", proc(map[string]string{"snmp": "", "netstat": "", "tcp": "", "tcp6": ""}), nil, "sleeping for 15s"),
	unseen("no netlink, and an empty /proc/net/snmp", proc(map[string]string{"snmp": "\n"}), nil, "sleeping for 15s"),
	unseen("no netlink, and /proc/net/snmp cannot be read", func(t *testing.T, w *world) {
		proc(map[string]string{"snmp": ""})(t, w)
		w.must(t, func() error { return os.Mkdir("/proc/7/net/snmp", 0o755) }) // EISDIR
	}, nil, "sleeping for 15s"),
	unseen("no netlink, and /proc/net/snmp is cut off", proc(map[string]string{"snmp": cutOff(snmp("5", "9"))}), nil, "sleeping for 15s"),
	unseen("no netlink, and counters that do not count", proc(map[string]string{"snmp": strings.ReplaceAll(snmp("0", "0"), "Tcp: 1 ", "Tcp: 0 ")}), nil, "the counters do not count"),
	unseen("no netlink, and rows of /proc/net/tcp that do not parse", proc(map[string]string{"tcp": table + "   0: 0100007F:1F90 00000000:XXXX 0A 00000000:00000000\n"}), nil, "sleeping for 15s"),
	unseen("no netlink, and /proc/net/tcp is cut off in a row", proc(map[string]string{"tcp": table + "   0: 0100007F:1F"}), nil, "sleeping for 15s"),
	unseen("/proc/net/snmp does not parse any more, in the middle", proc(map[string]string{"snmp": snmp("5", "9")}), then(map[string]string{"snmp": "Tcp: nonsense\n"}), "can no longer be seen"),
	unseen("a counter says 2^64-1", proc(map[string]string{"snmp": snmp("5", "9")}), then(map[string]string{"snmp": snmp("18446744073709551615", "9")}), "can no longer be seen"),
	back("counters go back", map[string]string{"snmp": snmp("4294967290", "4294967290")}, map[string]string{"snmp": snmp("4", "30")}),
	back("InSegs alone goes back", map[string]string{"snmp": snmp("5", "4294967290")}, map[string]string{"snmp": snmp("5", "30")}),
	// Nothing in netstat moves without a segment, so it is not read without one.
	back("TCPPureAcks alone goes back, at a segment", map[string]string{"snmp": snmp("5", "900"), "netstat": netstat(700, 3)},
		map[string]string{"snmp": snmp("5", "901"), "netstat": netstat(20, 3)}),
	back("ListenDrops alone goes back, at a pure ACK", map[string]string{"snmp": snmp("5", "900"), "netstat": netstat(700, 300)},
		map[string]string{"snmp": snmp("5", "901"), "netstat": netstat(701, 3)}),
	{
		name: "more ends of connections than the kernel keeps for a hook that is stopped", does: "takes what is lost for an arrival", why: "quiet", outside: true,
		least: quiet, most: budget, during: func(t *testing.T, w *world) {
			w.within(leaves)
			_ = w.hook.Process.Signal(syscall.SIGSTOP)
			for i := 0; dropped(t, w.hook.Process.Pid) < 100; i++ {
				if i == 50_000 {
					t.Error("the kernel keeps them all")
					break
				}
				w.app.call()
			}
			_ = w.hook.Process.Signal(syscall.SIGCONT)
		},
	},
	seen("nothing listens", "waits for the window", func(_ *testing.T, w *world) { w.app.listener.Close(); w.app.mute = true }),
	{
		name: "the listener is closed in the middle", does: "its connections count on", why: "quiet", outside: true, least: quiet, most: 5 * time.Second,
		before: func(_ *testing.T, w *world) { w.app.keep() }, during: func(_ *testing.T, w *world) {
			for i := range 12 {
				if i == 3 {
					w.app.listener.Close()
				}
				w.within(100 * time.Millisecond)
				w.app.again(0)
			}
		},
	},
	{
		name: "a port above 32767", does: "no difference", why: "quiet", outside: true, port: 65535, args: []string{"--port", "65535"},
		calls: calls, least: quiet, most: calls + 2*quiet,
	},
	{
		name: "many connections arrive during the hook, and stay", does: "no difference, in memory either", why: "quiet", outside: true,
		args: []string{"--port", "8080", "--port", "8079", "--timeout", "100s"}, port: 8079, least: quiet, most: 90 * time.Second,
		during: func(t *testing.T, w *world) {
			w.within(leaves)
			var many crowd.Crowd
			w.must(t, func() error { return many.Hold(8080, crowdSize()) })
			if !w.within(0) {
				t.Error("EARLY: it has ended while they arrived")
			}
			w.app.call()
			<-w.hook.ended
			many.Kill()
		},
	},
}...)}

// dropped is how much the kernel has dropped that sock_diag sockets were to be told, in the network
// namespace of a process.
func dropped(t *testing.T, pid int) (n int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", pid))
	if err != nil {
		t.Error(err)
	}
	for row := range strings.Lines(string(text)) {
		if f := strings.Fields(row); len(f) == 10 && f[1] == strconv.Itoa(unix.NETLINK_INET_DIAG) {
			drops, _ := strconv.Atoi(f[8])
			n += drops
		}
	}
	return n
}

// crowdSize is how many connections are many: LULL_CROWD.
func crowdSize() int {
	if n, err := strconv.Atoi(os.Getenv("LULL_CROWD")); err == nil {
		return n
	}
	return 4000
}

func refusals() (all []fault) {
	for _, errno := range []unix.Errno{unix.EPERM, unix.EACCES, unix.EINVAL, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT} {
		all = append(all, seen("seccomp refuses netlink with "+unix.ErrnoName(errno), byProc, noNetlink(errno), netlink0))
	}
	return all
}

// cutOff cuts a file in the middle of its counters.
func cutOff(text string) string {
	return text[:regexp.MustCompile(`Tcp: 1 200`).FindStringIndex(text)[1]]
}

func TestKernel(t *testing.T) { kernelFaults.test(t) }
