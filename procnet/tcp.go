package procnet

import "encoding/binary"

// What both sources know of the kernel's TCP.

// native is the byte order in which the kernel writes numbers.
var native = binary.NativeEndian

// TCP states, include/net/tcp_states.h.
const (
	stateEstablished = 1
	stateSynRecv     = 3
	stateFinWait1    = 4
	stateFinWait2    = 5
	stateTimeWait    = 6
	stateCloseWait   = 8
	stateListen      = 10

	// openStates is the mask of ESTABLISHED, SYN_RECV, FIN_WAIT1 and 2,
	// CLOSE_WAIT, LAST_ACK and CLOSING: everything that data may have reached.
	openStates   = 0xB3A
	listenStates = 1 << stateListen
)

// timerTimeWait is idiag_timer of a socket that is closed but for a small
// struct inet_timewait_sock: inet_twsk_diag_fill in net/ipv4/inet_diag.c, which
// gives no tcp_info. Its cookie may be the connection's or another.
const timerTimeWait = 3
