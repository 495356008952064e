package procnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// The messages of NETLINK_SOCK_DIAG, as linux/inet_diag.h and linux/netlink.h lay them
// out: numbers in the machine's order, ports and addresses in network order.

const (
	msgError = 2 // NLMSG_ERROR
	msgDone  = 3 // NLMSG_DONE

	msgByFamily = 20 // SOCK_DIAG_BY_FAMILY (linux/sock_diag.h)
	msgGetSock  = 18 // TCPDIAG_GETSOCK, the older request

	headerLen = 16 // struct nlmsghdr
	diagLen   = 72 // struct inet_diag_msg

	familyInet, familyInet6 = 2, 10 // AF_INET, AF_INET6

	attrInfo    = 2 // INET_DIAG_INFO: struct tcp_info
	attrMemInfo = 7 // INET_DIAG_SKMEMINFO: u32 of enum in linux/sock_diag.h
)

// message is one netlink message inside a receive buffer.
type message struct {
	kind uint16
	seq  uint32
	port uint32 // nlmsg_pid: the socket that it answers
	body []byte
}

// nextMessage splits the first message off b. It never reads past b.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < headerLen {
		return m, nil, fmt.Errorf("netlink message: %d bytes, less than a header", len(b))
	}
	n := int64(native.Uint32(b))
	if n < headerLen || n > int64(len(b)) {
		return m, nil, fmt.Errorf("netlink message: length %d in %d bytes", n, len(b))
	}
	m = message{
		kind: native.Uint16(b[4:]), seq: native.Uint32(b[8:]), port: native.Uint32(b[12:]),
		body: b[headerLen:n],
	}
	return m, b[min(align4(int(n)), len(b)):], nil
}

// status is what NLMSG_ERROR and NLMSG_DONE carry: 0, or a negative errno.
func (m message) status() int32 {
	if len(m.body) < 4 {
		return 0
	}
	return int32(native.Uint32(m.body))
}

func align4(n int) int { return (n + 3) &^ 3 }

// row is what the kernel tells of one socket.
type row struct {
	state  uint8
	timer  uint8
	family uint8
	sport  uint16
	dport  uint16
	src    [16]byte // only the first four for familyInet
	dst    [16]byte
	cookie uint64
	inode  uint32 // 0: no process owns it
	rqueue uint32 // LISTEN: length of the accept queue
	wqueue uint32 // LISTEN: its backlog

	// age is how long ago the newest data came, else how old the connection is. sent is
	// how long ago the app last sent something, likewise. hasAge is false without a
	// tcp_info: half-open rows, old kernels.
	age, sent time.Duration
	hasAge    bool

	// received and acked are how many bytes have come from the peer, and how many of the
	// app's the peer has acknowledged. hasBytes is false without a tcp_info.
	received, acked uint64
	hasBytes        bool

	// drops counts what a listener turned away. Old kernels do not say.
	drops    uint32
	hasDrops bool
}

// parseRow reads a struct inet_diag_msg and those of its attributes that are of
// use. Older kernels send shorter structures, newer ones longer.
func parseRow(b []byte, r *row) error {
	if len(b) < diagLen {
		return fmt.Errorf("inet_diag_msg: %d bytes, want %d", len(b), diagLen)
	}
	*r = row{
		family: b[0], state: b[1], timer: b[2],
		sport: binary.BigEndian.Uint16(b[4:]), dport: binary.BigEndian.Uint16(b[6:]),
		src: [16]byte(b[8:24]), dst: [16]byte(b[24:40]),
		cookie: uint64(native.Uint32(b[44:])) | uint64(native.Uint32(b[48:]))<<32,
		rqueue: native.Uint32(b[56:]), wqueue: native.Uint32(b[60:]), inode: native.Uint32(b[68:]),
	}
	if r.family != familyInet && r.family != familyInet6 {
		return fmt.Errorf("inet_diag_msg: family %d", r.family)
	}
	for b = b[diagLen:]; len(b) >= 4; {
		n, kind := int(native.Uint16(b)), native.Uint16(b[2:])
		if n < 4 || n > len(b) {
			return fmt.Errorf("inet_diag_msg: attribute %d of length %d in %d bytes", kind, n, len(b))
		}
		r.attribute(kind, b[4:n])
		b = b[min(align4(n), len(b)):]
	}
	return nil
}

func (r *row) attribute(kind uint16, b []byte) {
	const (
		lastDataSent = 44    // tcpi_last_data_sent in struct tcp_info, linux/tcp.h; ms
		lastDataRecv = 52    // tcpi_last_data_recv
		acked        = 120   // tcpi_bytes_acked
		received     = 128   // tcpi_bytes_received
		drops        = 8 * 4 // SK_MEMINFO_DROPS
	)
	switch kind {
	case attrInfo:
		if len(b) >= lastDataRecv+4 {
			r.age, r.hasAge = time.Duration(native.Uint32(b[lastDataRecv:]))*time.Millisecond, true
			r.sent = time.Duration(native.Uint32(b[lastDataSent:])) * time.Millisecond
		}
		if len(b) >= received+8 {
			r.acked, r.received, r.hasBytes = native.Uint64(b[acked:]), native.Uint64(b[received:]), true
		}
	case attrMemInfo:
		if len(b) >= drops+4 {
			r.drops, r.hasDrops = native.Uint32(b[drops:]), true
		}
	}
}

func (r *row) local() netip.Addr { return address(r.family, r.src) }

// peer is the client: invalid if the kernel no longer knows any of it.
func (r *row) peer() netip.AddrPort {
	a := address(r.family, r.dst)
	if a.IsUnspecified() && r.dport == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, r.dport)
}

func address(family uint8, b [16]byte) netip.Addr {
	if family == familyInet {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b).Unmap()
}

// arrived is when a connection's newest data came, or the connection itself, given that
// its row was read at now. It is rounded up, and never in the future.
func arrived(r *row, now time.Duration) time.Duration {
	if !r.hasAge {
		return now
	}
	return min(now, now-r.age+clockStep)
}

// waits reports whether the connection is in an accept queue: it is open, or its client
// has ended it, but no process owns it. One that a process has closed is in another state.
func (r *row) waits() bool {
	switch r.state {
	case stateEstablished, stateCloseWait, stateSynRecv: // the last by TCP Fast Open
		return r.inode == 0
	}
	return false
}
