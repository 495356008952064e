package procnet

import (
	"errors"

	"golang.org/x/sys/unix"
)

// portFrame is where a destroy event has the local port: idiag_sport of the
// struct inet_diag_msg behind the header, in network order.
const portFrame = headerLen + 4

// filterEvents lets only the destroy events of these ports into a socket; none
// means all. The kernel runs the filter before it queues a message
// (do_one_broadcast in net/netlink/af_netlink.c), so what it drops takes no
// room in the receive buffer and wakes nobody. No privilege is needed.
func filterEvents(fd int, ports []uint16) error {
	if len(ports) == 0 {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if errors.Is(err, unix.ENOENT) {
			return nil // there was none
		}
		return err
	}
	code := eventFilter(ports)
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

// eventFilter is a classic BPF program (linux/filter.h) that returns the length
// to keep of a message: all of it if its port is one of these, else nothing.
func eventFilter(ports []uint16) []unix.SockFilter {
	const all = 1<<32 - 1
	code := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: portFrame}}
	for _, p := range ports {
		code = append(code,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(p)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: all})
	}
	return append(code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
}
