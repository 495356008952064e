package procnet

import (
	"os"

	"golang.org/x/sys/unix"
)

// The kernel sorts by port before lull sees anything, with two kinds of program:
// portFilter for the sockets of a dump, eventFilter for the destroy events.

// portFilter is a program for inet_diag_bc_run (net/ipv4/inet_diag.c) that accepts sockets whose
// local port is one of ports. An operation is 4 bytes: the code, the jump if it is true (u8) and
// the jump if it is false (u16), both in bytes from here. The port of a comparison follows as the
// u16 of one more operation. A jump to the very end accepts, a jump 4 bytes beyond it refuses. Each
// port takes a >=, a <= and a jump to the end. There is an == too, but not in older kernels.
func portFilter(ports []uint16) []byte {
	const (
		jump, atLeast, atMost = 1, 2, 3 // INET_DIAG_BC_JMP, _S_GE, _S_LE

		compare = 8             // length of a comparison
		block   = 2*compare + 4 // length of a port's part
	)
	b := make([]byte, 0, block*len(ports))
	op := func(code, yes uint8, no int) {
		b = append(b, code, yes)
		b = native.AppendUint16(b, uint16(no))
	}
	for i, p := range ports {
		last := i == len(ports)-1
		op(atLeast, compare, block)
		op(0, 0, int(p))
		op(atMost, compare, block-compare)
		op(0, 0, int(p))
		if !last {
			op(jump, 4, block*(len(ports)-i)-block)
		}
	}
	return b
}

// eventPort is where a destroy event has the local port: idiag_sport of the struct
// inet_diag_msg behind the header, in network order.
const eventPort = headerLen + 4

// filterEvents lets only the destroy events of these ports into a socket, instead of
// those that another filter may have let in. The kernel runs the filter before it queues a
// message (do_one_broadcast in net/netlink/af_netlink.c), so what it drops takes no room in
// the receive buffer and wakes nobody. No privilege is needed.
func filterEvents(fd int, ports []uint16) error { return attach(fd, eventFilter(ports)) }

// unfilterEvents lets all destroy events into a socket that has a filter. A seccomp profile may
// refuse to detach one, and the kernel may have no memory to attach one that lets everything pass.
func unfilterEvents(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	if err == nil {
		return nil
	}
	return attach(fd, []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: wholeMessage}})
}

func attach(fd int, code []unix.SockFilter) error {
	program := &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program))
}

// wholeMessage is what a filter returns to keep all of a message.
const wholeMessage = 1<<32 - 1

// eventFilter is a classic BPF program (linux/filter.h). It returns how much of a
// message to keep: all of it if its port is one of these, else nothing.
func eventFilter(ports []uint16) []unix.SockFilter {
	code := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: eventPort}}
	for _, p := range ports {
		code = append(code,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(p)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: wholeMessage})
	}
	return append(code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
}
