package procnet

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestQueued(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		l, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
		s := open(t, which)
		checkQueue(t, s, port, 0)
		before := time.Now()
		for range 3 {
			dial(t, "127.0.0.1", port)
		}
		checkQueue(t, s, port, 3)
		if list := look(t, s, port); count(list, Connection) != 3 || newest(list).Before(before) {
			t.Errorf("unaccepted connections: %+v", list)
		}
		checkQueue(t, s, port, 3)
		for left := uint32(3); left > 0; left-- {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			checkQueue(t, s, port, left-1)
		}
	})
}

// Connections that were never accepted are reset with the listener.
func TestListenerCloses(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		l, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
		s := open(t, which)
		settled(t, s, port)
		before := time.Now()
		for range 3 {
			dial(t, "127.0.0.1", port)
		}
		l.Close()
		list := look(t, s, port)
		if count(list, Connection) < 3 || newest(list).Before(before) {
			t.Errorf("%+v, want 3 connections", list)
		}
	})
}

func TestOverflow(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		port := listenBacklog(t, 1)
		s := open(t, which)
		settled(t, s, port)
		for range 2 { // a queue of 1 holds 2
			dial(t, "127.0.0.1", port)
		}
		settled(t, s, port)
		checkQueue(t, s, port, 2)
		before := time.Now()
		c, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", portString(port)), 300*time.Millisecond)
		if err == nil {
			c.Close()
			t.Fatal("the queue holds more than it should")
		}
		list := look(t, s, port)
		if count(list, Dropped) == 0 {
			t.Fatalf("turned away, but: %+v", list)
		}
		for _, a := range list {
			if a.Kind == Dropped && (a.At.Before(before) || which == "netlink" && a.Port != port) {
				t.Errorf("%+v", a)
			}
		}
		if n := count(look(t, s, port), Dropped); n > 0 && which == "netlink" {
			t.Errorf("again: %d", n)
		}
	})
}

// A listener that opens between two looks, and turns somebody away.
func TestOverflowOfNewListener(t *testing.T) {
	both(t, func(t *testing.T, which string) {
		s := open(t, which)
		look(t, s)
		port := listenBacklog(t, 1)
		for range 2 {
			dial(t, "127.0.0.1", port)
		}
		if c, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", portString(port)), 300*time.Millisecond); err == nil {
			c.Close()
			t.Fatal("the queue holds more than it should")
		}
		if list := look(t, s, port); count(list, Dropped) == 0 {
			t.Errorf("turned away, but: %+v", list)
		}
	})
}

// A stray RST makes a listener count a drop, but nobody was turned away.
func TestStrayReset(t *testing.T) {
	needQuiet(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Skip("needs a raw socket: ", err)
	}
	defer unix.Close(fd)
	_, port := listen(t, net.ListenConfig{}, "tcp4", "127.0.0.1:0")
	s := open(t, "netlink")
	settled(t, s, port)
	segments := inSegs(t)
	local := netip.MustParseAddr("127.0.0.1")
	if err := unix.Sendto(fd, tcpReset(local, port), 0, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
		t.Fatal(err)
	}
	until(t, "the RST arrives", func() bool { return inSegs(t) > segments })
	if list := look(t, s, port); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}

// tcpReset is a TCP segment with nothing but RST, from and to an address.
func tcpReset(addr netip.Addr, port uint16) []byte {
	a := addr.As4()
	pseudo := slices.Concat(a[:], a[:], []byte{0, unix.IPPROTO_TCP, 0, 20})
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment, 9)
	binary.BigEndian.PutUint16(segment[2:], port)
	segment[12], segment[13] = 5<<4, 0x04
	sum := uint32(0)
	for b := slices.Concat(pseudo, segment); len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 > 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(segment[16:], ^uint16(sum))
	return segment
}

// listenBacklog listens with a queue of so many.
func listenBacklog(t *testing.T, backlog int) uint16 {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, port := listen(t, config, "tcp4", "127.0.0.1:0")
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return port
}
