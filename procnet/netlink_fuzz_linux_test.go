package procnet

import (
	"testing"
	"time"
)

// FuzzLooks makes two looks at what a kernel says, whatever it is: dumps of sockets, and events. No
// arrival may lie in the future, where it would hold the exit for ever.
func FuzzLooks(f *testing.F) {
	connections, ends := readTestdata(f, "linux-6.18/netlink/connections.bin"), readTestdata(f, "linux-6.18/netlink/destroyed.bin")
	f.Add(connections, ends)
	f.Add(ends, connections)
	f.Add(append(readTestdata(f, "linux-6.18/netlink/listen.bin"), connections...), []byte{})
	f.Add(testMessage(msgByFamily, attr(attrInfo, 56)), testMessage(msgByFamily, attr(attrInfo, 200)))
	f.Fuzz(func(t *testing.T, dump, events []byte) {
		s := &netlinkSource{
			base: time.Now().Add(-time.Second), ends: &subscriber{fd: -1}, listeners: newListeners(nil), known: newKnown(), accepts: newAcceptWatch(),
			open: func(c Conn) {
				if c.Opened.After(time.Now().Add(openedStep)) { // it is rounded up
					t.Errorf("opened in the future: %+v", c)
				}
			},
		}
		yield := func(a Arrival) {
			if now := time.Now(); a.At.After(now) || a.Opened.After(now.Add(openedStep)) || a.Since.After(now) {
				t.Errorf("in the future: %+v", a)
			}
			if a.Count < 1 {
				t.Errorf("nobody arrives: %+v", a)
			}
		}
		// The second look sees the same again, and then what the first one saw end.
		s.lookAt(dump, events, yield)
		s.lookAt(dump, events, yield)
		s.lookAt(events, dump, yield)
	})
}

// lookAt is what Arrivals does, with what the kernel has said already.
func (s *netlinkSource) lookAt(dump, events []byte, yield func(Arrival)) {
	s.listeners.round = !s.listeners.round
	clear(s.listeners.queues)
	clear(s.listeners.grown)
	s.known.begin()
	s.accepts.begin()
	s.began = [3]time.Duration{s.now(), s.began[0], s.began[1]}
	rows, _ := messagesOf(dump)
	for _, r := range rows {
		if r.state == stateListen {
			s.listeners.add(&r)
		} else {
			s.yieldConnection(&r, yield)
		}
	}
	s.listeners.compare(false, true)
	_ = s.ends.parseEvents(events, s.now(), new(row))
	all := &s.listeners.ports.all
	log := s.ends.take(nil)
	for _, d := range log.list {
		s.yieldEnd(d, yield)
	}
	s.yieldVanished(all, yield)
	s.known.sweep(0)
	s.yieldDropped(all, yield)
	s.accepts.end(s.listeners.queues, s.listeners.queues, s.listeners.queues, all, s.now())
	s.accepts.yield(all, s.base, s.base.Add(s.now()), yield)
}
