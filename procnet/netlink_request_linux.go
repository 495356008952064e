package procnet

// maxFilterPorts limits the filter that the kernel runs for every socket of the
// namespace. With more ports the rows are filtered here.
const maxFilterPorts = 100

// request says which sockets to dump.
//
// It is sent as TCPDIAG_GETSOCK, the older of two requests, because that one covers
// both address families in one walk of the kernel's hash (inet_diag_dump_compat in
// net/ipv4/inet_diag.c asks for AF_UNSPEC). SOCK_DIAG_BY_FAMILY needs a walk for each
// family. Where few of the connections are on the ports, one walk halves the cost of
// a look. Every kernel that has the destroy groups has the older request, too, and ss
// relies on it when its own is refused (inet_show_netlink in iproute2's misc/ss.c).
type request struct {
	ports  []uint16 // none: all
	states uint32
	attr   uint8 // attrInfo or attrMemInfo
}

// message is the whole netlink message: a header, struct inet_diag_req, and the filter.
func (q request) message(seq uint32) []byte {
	const (
		flags  = 0x301 // NLM_F_REQUEST | NLM_F_DUMP
		states = 52
	)
	body := make([]byte, 60, 60+4+20*len(q.ports))
	body[3] = 1 << (q.attr - 1)
	if len(q.ports) == 1 { // idiag_sport of a struct inet_diag_sockid
		body[4], body[5] = byte(q.ports[0]>>8), byte(q.ports[0])
	}
	native.PutUint32(body[states:], q.states)
	return withHeader(msgGetSock, flags, seq, q.appendFilter(body))
}

// appendFilter appends INET_DIAG_REQ_BYTECODE if there are several ports.
func (q request) appendFilter(b []byte) []byte {
	const bytecode = 1
	if len(q.ports) < 2 {
		return b
	}
	code := portFilter(q.ports)
	b = native.AppendUint16(b, uint16(4+len(code)))
	b = native.AppendUint16(b, bytecode)
	return append(b, code...)
}

// withHeader puts a struct nlmsghdr before a message's body.
func withHeader(kind, flags uint16, seq uint32, body []byte) []byte {
	b := make([]byte, headerLen, headerLen+len(body))
	native.PutUint32(b, uint32(headerLen+len(body)))
	native.PutUint16(b[4:], kind)
	native.PutUint16(b[6:], flags)
	native.PutUint32(b[8:], seq)
	return append(b, body...)
}
