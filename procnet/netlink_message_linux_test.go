package procnet

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// messagesOf reads the rows of captured netlink messages.
func messagesOf(b []byte) (rows []row, err error) {
	for len(b) > 0 {
		var m message
		if m, b, err = nextMessage(b); err != nil {
			return rows, err
		}
		if m.kind == msgDone || m.kind == msgError {
			continue
		}
		var r row
		if err := parseRow(m.body, &r); err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func TestParseRow(t *testing.T) {
	tests := map[string][]string{
		"listen": {"[::]:8080 invalid AddrPort state 10 queue 1/16 drops 0 true"},
		"connections": {
			"127.0.0.1:8080 127.0.0.1:40001 state 1 age true",
			"127.0.0.1:40001 127.0.0.1:8080 state 1 age true",
		},
		"destroyed": {
			"127.0.0.1:40001 127.0.0.1:8080 state 7 age true",
			"127.0.0.1:8080 127.0.0.1:40001 state 7 age true",
			"[::]:8080 [::1]:0 state 7 age true", // reset by its own side: zeroed
		},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			rows, err := messagesOf(readTestdata(t, "linux-6.18/netlink/"+name+".bin"))
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]bool)
			for _, r := range rows {
				s := fmt.Sprintf("%s:%d %s state %d", bracketed(r), r.sport, r.peer(), r.state)
				if r.state == stateListen {
					s += fmt.Sprintf(" queue %d/%d drops %d %t", r.rqueue, r.wqueue, r.drops, r.hasDrops)
				}
				if r.hasAge {
					s += " age true"
				}
				if r.cookie == 0 {
					t.Errorf("no cookie: %+v", r)
				}
				got[s] = true
			}
			for _, w := range want {
				if !got[w] {
					t.Errorf("no %q in %v", w, got)
				}
			}
		})
	}
}

func bracketed(r row) string {
	a := r.local()
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// testMessage is a netlink message with an inet_diag_msg and attributes.
func testMessage(kind uint16, attrs ...[]byte) []byte {
	body := make([]byte, diagLen)
	body[0] = familyInet
	for _, a := range attrs {
		body = append(body, a...)
	}
	b := make([]byte, headerLen, headerLen+len(body))
	native.PutUint32(b, uint32(headerLen+len(body)))
	native.PutUint16(b[4:], kind)
	return append(b, body...)
}

func attr(kind uint16, n int) []byte {
	b := make([]byte, align4(4+n))
	native.PutUint16(b, uint16(4+n))
	native.PutUint16(b[2:], kind)
	return b
}

// Older kernels send less, newer ones more.
func TestParseRowOfOtherKernels(t *testing.T) {
	tests := []struct {
		name          string
		attrs         [][]byte
		age, hasDrops bool
	}{
		{"nothing", nil, false, false},
		{"info before last_data_recv", [][]byte{attr(attrInfo, 52)}, false, false},
		{"info up to it", [][]byte{attr(attrInfo, 56)}, true, false},
		{"info of the future", [][]byte{attr(200, 1), attr(attrInfo, 1000)}, true, false},
		{"memory without drops", [][]byte{attr(attrMemInfo, 32)}, false, false},
		{"memory", [][]byte{attr(attrMemInfo, 36), attr(200, 3)}, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := messagesOf(testMessage(msgByFamily, tt.attrs...))
			if err != nil || len(rows) != 1 || rows[0].hasAge != tt.age || rows[0].hasDrops != tt.hasDrops {
				t.Errorf("%+v, %v", rows, err)
			}
		})
	}
}

func TestParseRowErrors(t *testing.T) {
	long := attr(attrInfo, 56)
	native.PutUint16(long, 1000)
	short := attr(attrInfo, 56)
	native.PutUint16(short, 3)
	family := testMessage(msgByFamily)
	family[headerLen] = 1
	length := testMessage(msgByFamily)
	native.PutUint32(length, 1<<31)
	for name, b := range map[string][]byte{
		"attribute too long": testMessage(msgByFamily, long), "attribute too short": testMessage(msgByFamily, short),
		"family": family, "length": length, "header": make([]byte, headerLen-1), "zero": make([]byte, headerLen),
		"short": {20, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		if rows, err := messagesOf(b); err == nil {
			t.Errorf("%s: %+v", name, rows)
		}
	}
}

func FuzzParseMessages(f *testing.F) {
	for _, name := range []string{"listen", "connections", "destroyed"} {
		f.Add(readTestdata(f, "linux-6.18/netlink/"+name+".bin"))
	}
	f.Add(testMessage(msgByFamily, attr(attrInfo, 56)))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, _ := messagesOf(b)
		if len(rows)*(headerLen+diagLen) > len(b) {
			t.Errorf("%d rows in %d bytes", len(rows), len(b))
		}
		for _, r := range rows {
			r.local()
			if p := r.peer(); p.IsValid() && p.Addr().Is4In6() {
				t.Errorf("peer %s", p)
			}
			if at := arrived(&r, time.Hour); at > time.Hour {
				t.Errorf("arrives at %s", at)
			}
		}
		var e events
		_ = e.parseEvents(b, time.Second, new(row))
	})
}

// FuzzDump reads the answer to a dump, whatever it is.
func FuzzDump(f *testing.F) {
	for _, name := range []string{"listen", "connections"} {
		f.Add(readTestdata(f, "linux-6.18/netlink/"+name+".bin"))
	}
	f.Add(testMessage(msgDone))
	f.Add(testMessage(msgError, attr(0, 4)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d dumper
		if m, _, err := nextMessage(b); err == nil {
			d.seq, d.portID = m.seq, m.port
		}
		rows := 0
		_, _ = d.parse(b, func(r *row) {
			if rows++; r.family != familyInet && r.family != familyInet6 {
				t.Errorf("row %+v", *r)
			}
			r.waits()
			r.answered()
			r.volume()
		})
		if rows*(headerLen+diagLen) > len(b) {
			t.Errorf("%d rows in %d bytes", rows, len(b))
		}
	})
}

// run is what the kernel does with a filter: inet_diag_bc_run.
func run(code []byte, port uint16) bool {
	n := len(code)
	for n > 0 {
		op := code[len(code)-n:]
		yes := true
		switch op[0] {
		case 1:
			yes = false
		case 2:
			yes = port >= native.Uint16(op[6:])
		case 3:
			yes = port <= native.Uint16(op[6:])
		default:
			panic("operation")
		}
		if yes {
			n -= int(op[1])
		} else {
			n -= int(native.Uint16(op[2:]))
		}
	}
	return n == 0
}

func TestPortFilter(t *testing.T) {
	for _, ports := range [][]uint16{{80}, {80, 443}, {1, 80, 8080, 65535}, {443, 80, 8443}} {
		code := portFilter(ports)
		var got []uint16
		for p := 1; p <= 65535; p++ {
			if run(code, uint16(p)) {
				got = append(got, uint16(p))
			}
		}
		want := portsOf(ports).list(len(ports))
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v: %s", ports, d)
		}
	}
}

func TestRequestLayout(t *testing.T) {
	q := request{ports: []uint16{0x1F90}, states: openStates, attr: attrInfo}
	b := q.message(7)
	if len(b) != headerLen+60 || native.Uint32(b) != headerLen+60 || native.Uint16(b[4:]) != 18 || native.Uint16(b[6:]) != 0x301 || native.Uint32(b[8:]) != 7 {
		t.Errorf("nlmsghdr %x", b)
	}
	if b = b[headerLen:]; b[3] != 2 || b[4] != 0x1F || b[5] != 0x90 || native.Uint32(b[52:]) != 0xB3A {
		t.Errorf("inet_diag_req %x", b)
	}
	q.ports = []uint16{80, 443}
	if b := q.message(8)[headerLen:]; len(b) != 60+4+36 || b[4] != 0 || native.Uint16(b[60:]) != 40 || native.Uint16(b[62:]) != 1 {
		t.Errorf("with a filter %x", b)
	}
}

// What two sockets of a port have counted is never nothing, whatever they count.
func TestDropsDoNotCancelOut(t *testing.T) {
	s := &netlinkSource{listeners: newListeners(nil)}
	for cookie, drops := range []uint32{5, 1<<32 - 5} {
		s.listeners.add(&row{sport: 80, cookie: uint64(cookie), drops: drops})
	}
	s.listeners.compare(false, false)
	s.yieldDropped(portsOf([]uint16{80}), func(a Arrival) {
		if a.Count != 1<<31-1 {
			t.Errorf("%+v", a)
		}
	})
}
