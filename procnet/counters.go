package procnet

import (
	"fmt"

	"github.com/prometheus/procfs"
)

// counters reads the TCP counters of the network namespace, by way of procfs. It is not for
// concurrent use.
//
// It holds three methods of a procfs.Proc, not the Proc itself. As a field, that type would keep
// all its parsers in the binary, 0.45 MB, since kong uses reflection.
type counters struct {
	snmp    func() (procfs.ProcSnmp, error)
	netstat func() (procfs.ProcNetstat, error)
	files   func() ([]uintptr, error) // this process's file descriptors
}

// openCounters fails if there is no /proc of this process at root.
func openCounters(root string) (*counters, error) {
	fs, err := procfs.NewFS(root)
	if err != nil {
		return nil, err
	}
	self, err := fs.Self()
	if err != nil {
		return nil, err
	}
	return &counters{self.Snmp, self.Netstat, self.FileDescriptors}, nil
}

// tcpCounters are from /proc/net/snmp.
type tcpCounters struct {
	counts bool   // the kernel fills the file
	opens  uint64 // PassiveOpens: connections that the kernel accepted
	segs   uint64 // InSegs: segments that reached the namespace
}

func (c *counters) tcp() (n tcpCounters, err error) {
	snmp, err := c.snmp()
	if err != nil {
		return n, fmt.Errorf("net/snmp: %w", err)
	}
	opens, ok := count64(snmp.PassiveOpens)
	segs, ok2 := count64(snmp.InSegs)
	if !ok || !ok2 {
		return n, fmt.Errorf("net/snmp: no PassiveOpens and InSegs")
	}
	// RtoAlgorithm is no counter: tcp_mib_init in include/net/tcp.h sets it to 1. A sandbox
	// that has the columns alone shows 0 in all of them, for ever.
	algorithm, ok := count64(snmp.RtoAlgorithm)
	return tcpCounters{counts: !ok || algorithm != 0, opens: opens, segs: segs}, nil
}

// tcpExtCounters are from /proc/net/netstat. A counter that the kernel does not have is 0.
type tcpExtCounters struct {
	pureAcks uint64 // TCPPureAcks: segments that were nothing but an ACK
	drops    uint64 // ListenDrops, else ListenOverflows: connections turned away
	hasDrops bool
}

func (c *counters) tcpExt() (n tcpExtCounters, err error) {
	netstat, err := c.netstat()
	if err != nil {
		return n, fmt.Errorf("net/netstat: %w", err)
	}
	n.pureAcks, _ = count64(netstat.TCPPureAcks)
	if n.drops, n.hasDrops = count64(netstat.ListenDrops); !n.hasDrops {
		n.drops, n.hasDrops = count64(netstat.ListenOverflows)
	}
	return n, nil
}

// count64 is a counter as a whole number. procfs reads it as a float, which is exact up to 2^53.
func count64(f *float64) (n uint64, ok bool) {
	if f == nil || !(*f >= 0 && *f < 1<<63) {
		return 0, false
	}
	return uint64(*f), true
}
