package procnet

import "golang.org/x/sys/unix"

// ownTraffic counts the segments that this process's own TCP connections have received, such
// as that to the API server. They are in the namespace's counters, but are nothing that the
// app receives.
type ownTraffic struct {
	files   func() ([]uintptr, error) // the file descriptors of this process
	netns   uint64                    // of this process; 0: the kernel does not say
	sockets map[uint64]ownSocket
}

// ownSocket is a socket as it was last read.
type ownSocket struct {
	port uint16 // the local one
	acks uint32 // segments without data: tcpi_segs_in less tcpi_data_segs_in
	data uint32 // tcpi_data_segs_in
}

func newOwnTraffic(files func() ([]uintptr, error)) *ownTraffic {
	o := &ownTraffic{files: files, sockets: make(map[uint64]ownSocket)}
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
		o.netns, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		_ = unix.Close(fd)
	}
	return o
}

// read is how many segments these connections have received since the last call: at least so
// many as InSegs counted them. A connection on a port that something listens on is not
// counted, nor is one that was not there at the last call.
//
// Segments of one connection may reach TCP as one, which InSegs counts once and tcp_info in
// its parts (GRO; tcp_segs_in in include/net/tcp.h). That holds for data alone
// (tcp_gro_receive in net/ipv4/tcp_offload.c flushes what has none). So data counts as one
// segment, however much there is.
func (o *ownTraffic) read(listening *portSet) (acks, data uint64) {
	fds, err := o.files()
	if err != nil {
		fds = nil
	}
	before := o.sockets
	o.sockets = make(map[uint64]ownSocket, len(before))
	for _, fd := range fds {
		cookie, s, ok := o.socket(int(fd))
		if !ok {
			continue
		}
		o.sockets[cookie] = s
		if was, ok := before[cookie]; ok && !listening.has(s.port) {
			acks += uint64(s.acks - was.acks)
			data += uint64(min(s.data-was.data, 1))
		}
	}
	return acks, data
}

// socket reads a TCP socket of this network namespace.
func (o *ownTraffic) socket(fd int) (cookie uint64, s ownSocket, ok bool) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0, s, false // no socket
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, s, false
	}
	if netns, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil && netns != o.netns {
		return 0, s, false
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return 0, s, false
	}
	switch local := local.(type) {
	case *unix.SockaddrInet4:
		s.port = uint16(local.Port)
	case *unix.SockaddrInet6:
		s.port = uint16(local.Port)
	default:
		return 0, s, false
	}
	// Another goroutine may have closed the descriptor meanwhile, and opened another socket.
	if again, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil || again != cookie {
		return 0, s, false
	}
	s.data, s.acks = info.Data_segs_in, info.Segs_in-info.Data_segs_in
	return cookie, s, true
}
