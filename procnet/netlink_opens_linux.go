package procnet

// openCount compares how many connections the kernel opened with how many were seen. More
// opened than seen means that some have left no trace:
//   - Their client has reset them, or both sides have ended them, while the app holds them
//     and has not closed them. Then they are in no table, and report their end only when
//     the app closes them (tcp_done in net/ipv4/tcp.c).
//   - The kernel had no memory to report their end, or reported it late.
//   - A dump has passed over them.
//
// PassiveOpens counts for the whole namespace. So this is exact only while nothing listens
// on other ports, and else nothing is claimed.
type openCount struct {
	counters *counters // nil: there are none
	opened   uint64    // PassiveOpens before the look under way
	seen     uint64    // how many connections opened by then, or later, were seen
	valid    bool      // opened and seen can be compared
	others   bool      // something listens, or has listened since the last look, on other ports
}

// read is PassiveOpens of the namespace, if it can be read.
func (c *openCount) read() (n uint64, ok bool) {
	if c.counters == nil {
		return 0, false
	}
	tcp, err := c.counters.tcp()
	return tcp.opens, err == nil
}

// begin starts a look. It must come before any dump or event of the look.
func (c *openCount) begin() {
	var ok bool
	c.opened, ok = c.read()
	c.valid = c.valid && ok
}

// recordListeners records which ports had listeners at some moment of the look.
func (c *openCount) recordListeners(queues map[uint16]Queue, watched *portSet) {
	for port := range queues {
		c.others = c.others || !watched.has(port)
	}
}

// untraced is how many connections were opened before the look began and not seen by its end.
func (c *openCount) untraced() uint64 {
	if !c.valid || c.others || c.opened <= c.seen {
		return 0
	}
	return c.opened - c.seen
}

// end completes a look. The next one compares from here: everything was seen, or reported
// as lost. No more can have been seen than have been opened by now. That matters after a
// connection was taken for a new one twice.
func (c *openCount) end(lost bool, queues map[uint16]Queue, watched *portSet) {
	now, ok := c.read()
	if c.seen = max(c.seen, c.opened); lost || c.others || !c.valid {
		c.seen = now
	}
	c.seen, c.valid, c.others = min(c.seen, now), ok, false
	c.recordListeners(queues, watched)
}
