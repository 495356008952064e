package procnet

// A dump is asked for in one of two ways. SOCK_DIAG_BY_FAMILY takes one address
// family; the older TCPDIAG_GETSOCK dumps both in one walk of the hash
// (inet_diag_dump_compat in net/ipv4/inet_diag.c asks for AF_UNSPEC). Where few of
// the connections are on the ports, that halves the cost of a look. Kernels have
// had it since long before the destroy groups, and ss falls back to it
// (inet_show_netlink in iproute2's misc/ss.c); lull falls back the other way.

// maxFilterPorts bounds the filter that the kernel runs for every socket of the
// namespace. With more ports the rows are filtered here.
const maxFilterPorts = 100

// request says which sockets to dump.
type request struct {
	ports  []uint16 // none: all
	states uint32
	attr   uint8 // attrInfo or attrMemInfo
}

// both is the request for both families at once: struct inet_diag_req.
func (q request) both() []byte {
	const states = 52
	b := make([]byte, 60, 60+4+20*len(q.ports))
	b[3] = 1 << (q.attr - 1)
	q.onePort(b[4:])
	host.PutUint32(b[states:], q.states)
	return q.filter(b)
}

// family is the request for one family: struct inet_diag_req_v2.
func (q request) family(family uint8) []byte {
	const tcp = 6 // IPPROTO_TCP
	b := make([]byte, 56, 56+4+20*len(q.ports))
	b[0], b[1], b[2] = family, tcp, 1<<(q.attr-1)
	host.PutUint32(b[4:], q.states)
	q.onePort(b[8:])
	return q.filter(b)
}

// onePort sets idiag_sport of a struct inet_diag_sockid.
func (q request) onePort(id []byte) {
	if len(q.ports) == 1 {
		id[0], id[1] = byte(q.ports[0]>>8), byte(q.ports[0])
	}
}

// filter appends INET_DIAG_REQ_BYTECODE if there are several ports.
func (q request) filter(b []byte) []byte {
	const bytecode = 1
	if len(q.ports) < 2 {
		return b
	}
	code := portFilter(q.ports)
	b = host.AppendUint16(b, uint16(4+len(code)))
	b = host.AppendUint16(b, bytecode)
	return append(b, code...)
}

// portFilter is a program for inet_diag_bc_run (net/ipv4/inet_diag.c) that
// accepts sockets whose local port is one of ports. An operation is 4 bytes:
// code, the jump if true (u8), the jump if false (u16), in bytes from here; the
// port of a comparison follows as the u16 of one more. Jumping to the very end
// accepts, 4 bytes beyond it refuses. Each port takes a >=, a <= and a jump to
// the end; == exists, but not in
// older kernels.
func portFilter(ports []uint16) []byte {
	const (
		jump, atLeast, atMost = 1, 2, 3 // INET_DIAG_BC_JMP, _S_GE, _S_LE

		compare = 8             // length of a comparison
		block   = 2*compare + 4 // length of a port's part
	)
	b := make([]byte, 0, block*len(ports))
	op := func(code, yes uint8, no int) {
		b = append(b, code, yes)
		b = host.AppendUint16(b, uint16(no))
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
