package procnet

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// FuzzLooks makes looks at what a kernel says, whatever it is: dumps of sockets, events, counters.
// No arrival may lie in the future, where it would hold the exit for ever, and no look may take
// longer than it should. And once the kernel is honest again, a connection must be seen to come and
// to go. Each byte of script is a look; the first is the one with which the source is opened.
func FuzzLooks(f *testing.F) {
	listen, connections := readTestdata(f, "linux-6.18/netlink/listen.bin"), readTestdata(f, "linux-6.18/netlink/connections.bin")
	ends := readTestdata(f, "linux-6.18/netlink/destroyed.bin")
	all := slices.Concat(listen, connections)
	f.Add(all, ends, []byte{0, one | eventsTwo, one, two, 0, one | more})
	f.Add(all, ends, []byte{one, one | asks, one | asks | eventsTwo, two | asks, inTurn})
	f.Add(all, listen, []byte{one, one, two, two | more, one | eventsOne})
	f.Add(all, ends, []byte{one, one | fails, inTurn | fails, eventsOne | eventsTwo | one})
	f.Add(testMessage(msgByFamily, attr(attrInfo, 56)), testMessage(msgByFamily, attr(attrInfo, 200)), []byte{one, two, inTurn | eventsOne})
	listener, waiting := diagMessage(stateListen, 8080, 1), diagMessage(stateEstablished, 8080, 2)
	accepted := slices.Clone(waiting)
	listener[headerLen+56], waiting[headerLen+68] = 1, 0 // the queue's length, and the inode
	f.Add(slices.Concat(listener, waiting), slices.Concat(listener, accepted), []byte{one, one, two, one | more, 0})
	f.Fuzz(func(t *testing.T, first, second, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			k := &hostileKernel{texts: [2][]byte{first, second}}
			s := k.source()
			for i, what := range script[:min(len(script), 8)] {
				if k.script = what; i == 0 {
					if s.start() != nil {
						return
					}
					continue
				}
				time.Sleep(time.Second)
				var ports []uint16
				if what&asks != 0 {
					ports = []uint16{8080}
				}
				_, _ = k.look(t, s, ports)
				_, _ = s.Queued(t.Context(), ports)
				s.Ended()
			}
			k.becomeHonest(t, s)
		})
	})
}

// What a byte of the script says.
const (
	one, two, inTurn     = 1, 2, 3          // the answer to a dump: a text, or both in turn; else nothing
	eventsOne, eventsTwo = one << 2, 2 << 2 // the events: a text; of both, the first was dropped
	asks                 = 1 << 4           // for a port; else for all
	more                 = 1 << 5           // the counters grow with each reading by 1, or by up to 3
	fails                = 1 << 7           // some of what is read
)

// hostileKernel says to a source whatever it is told to.
type hostileKernel struct {
	texts  [2][]byte
	script byte

	seq      uint32 // of the request under way
	requests int
	reads    int
	answer   []byte   // what is left of it
	events   [][]byte // what is left to be read
	count    float64  // of the kernel's counters
}

func (k *hostileKernel) source() *netlinkSource {
	c := &counters{
		snmp: func() (s procfs.ProcSnmp, err error) {
			s.Tcp.PassiveOpens, s.Tcp.InSegs = k.counter(), k.counter()
			return s, nil
		},
		netstat: func() (s procfs.ProcNetstat, err error) {
			s.TcpExt.ListenDrops = k.counter()
			return s, nil
		},
	}
	open := func() (netlinkFile, uint32, error) { return k, kernelPort, nil }
	base := time.Now()
	return &netlinkSource{
		base: base, ends: &subscriber{fd: -1, base: base, read: k.readEvents, buf: make([]byte, dumpBuffer)},
		dumper:    &dumper{open: open, buf: make([]byte, dumpBuffer)},
		listeners: newListeners(c), known: newKnown(), accepts: newAcceptWatch(), opens: openCount{counters: c},
	}
}

func (k *hostileKernel) counter() *float64 {
	k.count += float64(k.script / more & 3)
	n := k.count
	return &n
}

// kernelPort is the address of a dumper's socket.
const kernelPort = 7

// Write takes a request for a dump.
func (k *hostileKernel) Write(b []byte) (int, error) {
	k.seq = native.Uint32(b[8:])
	which := k.script & inTurn
	if which == inTurn {
		which = one + byte(k.requests&1)
	}
	if k.requests++; which == 0 {
		k.answer = nil
	} else {
		k.answer = k.addressed(k.texts[which-one])
	}
	return len(b), nil
}

// Read reads a part of the answer. A message that is larger than b is cut off.
func (k *hostileKernel) Read(b []byte) (int, error) {
	if k.reads++; k.script&fails != 0 && k.reads%3 == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	part := k.answer
	if k.answer = nil; len(part) == 0 {
		part = k.addressed(withHeader(msgDone, 0, 0, make([]byte, 4)))
	}
	return copy(b, part), nil
}

func (k *hostileKernel) SetReadDeadline(time.Time) error { return nil }

func (k *hostileKernel) Close() error { return nil }

// addressed is a copy of messages that answer the request under way.
func (k *hostileKernel) addressed(b []byte) []byte {
	b = bytes.Clone(b)
	for rest := b; len(rest) >= headerLen; {
		n := align4(int(native.Uint32(rest)))
		native.PutUint32(rest[8:], k.seq)
		native.PutUint32(rest[12:], kernelPort)
		if n < headerLen || n > len(rest) {
			break
		}
		rest = rest[n:]
	}
	return b
}

// readEvents is read(2) of the destroy groups.
func (k *hostileKernel) readEvents(_ int, b []byte) (int, error) {
	if len(k.events) == 0 {
		return -1, unix.EAGAIN
	}
	text := k.events[0]
	if k.events = k.events[1:]; text == nil {
		return -1, unix.ENOBUFS
	}
	return copy(b, text), nil
}

// look makes a look, and checks what it yields.
func (k *hostileKernel) look(t *testing.T, s *netlinkSource, ports []uint16) (list []Arrival, err error) {
	if k.events = nil; k.script&eventsOne != 0 {
		k.events = append(k.events, k.texts[0])
	}
	if k.script&eventsTwo != 0 {
		k.events = append(k.events, k.texts[1])
	}
	if len(k.events) == 2 {
		k.events[0] = nil
	}
	began := time.Now()
	_, err = s.Arrivals(t.Context(), ports, func(a Arrival) {
		if now := time.Now(); a.At.After(now) || a.Opened.After(now.Add(openedStep)) || a.Since.After(now) {
			t.Errorf("in the future: %+v", a)
		}
		if a.Count < 1 {
			t.Errorf("nobody arrives: %+v", a)
		}
		list = append(list, a)
	}, func(c Conn) {
		if c.Opened.After(time.Now().Add(openedStep)) { // it is rounded up
			t.Errorf("opened in the future: %+v", c)
		}
	})
	if d := time.Since(began); d > 2*lateEvents+veryLateEvents {
		t.Errorf("a look took %s", d)
	}
	return list, err
}

// becomeHonest shows a connection that is new, and then none any more.
func (k *hostileKernel) becomeHonest(t *testing.T, s *netlinkSource) {
	const port = 8080
	cookie := uint64(1)
	for _, known := s.known.get(cookie); known; _, known = s.known.get(cookie) {
		cookie++
	}
	listener := diagMessage(stateListen, port, 1<<63)
	k.texts = [2][]byte{slices.Concat(listener, diagMessage(stateEstablished, port, cookie)), listener}
	for i, kind := range []Kind{Connection, Request} {
		time.Sleep(time.Second)
		k.script = byte(one + i)
		list, err := k.look(t, s, []uint16{port})
		if err != nil || !slices.ContainsFunc(list, func(a Arrival) bool { return a.Conn == cookie && a.Kind == kind && a.Port == port }) {
			t.Errorf("look %d: no arrival of connection %d: %+v, %v", i, cookie, list, err)
		}
	}
}

// diagMessage is a socket's row. A process owns the socket.
func diagMessage(state uint8, port uint16, cookie uint64) []byte {
	b := testMessage(msgByFamily)
	body := b[headerLen:]
	body[1], body[68] = state, 1
	binary.BigEndian.PutUint16(body[4:], port)
	native.PutUint32(body[44:], uint32(cookie))
	native.PutUint32(body[48:], uint32(cookie>>32))
	return b
}
