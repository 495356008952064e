package procnet

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
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
				root := t.TempDir()
				_, _, err = Open("auto", ProcRoot(root))
				if !errors.Is(err, errno) || !strings.Contains(fmt.Sprint(err), root) {
					t.Errorf("neither: %v", err)
				}
			})
		})
	}
}

// refused runs f on a thread that may not open netlink sockets.
func refused(t *testing.T, errno unix.Errno, f func()) {
	t.Helper()
	const nr, arg0 = 0, 16 // struct seccomp_data; the low half, little-endian
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: nr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: arg0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AF_NETLINK, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("needs seccomp: ", err)
	}
}
