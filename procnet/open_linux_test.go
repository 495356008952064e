package procnet

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lull/testdata/seccomp"
)

func TestOpen(t *testing.T) {
	for _, which := range []string{"netlink", "proc"} {
		if s := open(t, which); s.Name() != which {
			t.Errorf("%s opens %s", which, s.Name())
		}
	}
	s, why, err := Open("auto")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if (s.Name() == "netlink") != (why == "") {
		t.Errorf("auto opens %s: %q", s.Name(), why)
	}
	if _, _, err := Open("ebpf"); err == nil || !strings.Contains(err.Error(), `"ebpf"`) {
		t.Errorf("error %v", err)
	}
}

// Whatever seccomp answers, auto takes the other source and says why.
func TestOpenRefused(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EPERM, unix.EACCES, unix.EINVAL, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			refused(t, errno, func() {
				s, why, err := Open("auto")
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				if s.Name() != "proc" || !strings.Contains(why, errno.Error()) || strings.Contains(why, "\n") {
					t.Errorf("%s: %q", s.Name(), why)
				}
				if _, _, err := Open("netlink"); !errors.Is(err, errno) {
					t.Errorf("netlink: %v", err)
				}
				o := defaults()
				o.procRoot = t.TempDir()
				_, _, err = openSource("auto", o)
				if !errors.Is(err, errno) || !strings.Contains(fmt.Sprint(err), o.procRoot) {
					t.Errorf("neither: %v", err)
				}
			})
		})
	}
}

// A filter that may not be taken off must not cost the source.
func TestDetachRefused(t *testing.T) {
	srv, neighbour := serve(t, nil), serve(t, nil)
	refusedCall(t, unix.SYS_SETSOCKOPT, 2, unix.SO_DETACH_FILTER, unix.EPERM, func() {
		s, err := openNetlink(defaults())
		if err != nil {
			t.Error("open: ", err)
			return
		}
		defer s.Close()
		for _, ports := range [][]uint16{{srv.port}, nil, {neighbour.port}, {srv.port, neighbour.port}} {
			if _, err := s.Arrivals(t.Context(), ports, func(Arrival) {}, nil); err != nil {
				t.Errorf("ports %v: %v", ports, err)
			}
			if want := len(ports); len(s.ends.filtered) != want {
				t.Errorf("ports %v: a filter for %v", ports, s.ends.filtered)
			}
		}
	})
}

// refused runs f on a thread that may not open netlink sockets.
func refused(t *testing.T, errno unix.Errno, f func()) {
	t.Helper()
	refusedCall(t, unix.SYS_SOCKET, 0, unix.AF_NETLINK, errno, f)
}

// refusedCall runs f on a thread on which a system call fails, if an argument has a value.
func refusedCall(t *testing.T, call, arg, value uint32, errno unix.Errno, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := seccomp.Refuse(call, arg, value, errno)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("needs seccomp: ", err)
	}
}
