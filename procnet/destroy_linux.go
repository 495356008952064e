package procnet

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Multicast groups of NETLINK_SOCK_DIAG, linux/sock_diag.h; since Linux 4.2.
const (
	groupTCPDestroy  = 1 // SKNLGRP_INET_TCP_DESTROY
	groupTCP6Destroy = 3 // SKNLGRP_INET6_TCP_DESTROY
)

// maxPump bounds the events that one pump reads, so that it ends however fast
// they come.
const maxPump = 4 * maxEvents

// subscriber reads the destroy groups into events. Its goroutine sleeps until
// there is something to read; a look reads for itself too, so that nothing it
// should know lies unread because the goroutine had no CPU.
type subscriber struct {
	events
	conn *netlink.Conn
	raw  syscall.RawConn
	base time.Time
	done chan struct{} // closed when the goroutine has ended

	filtered []uint16 // the ports that the kernel's filter lets through; none: all

	pumping   sync.Mutex // guards what follows, and the order of reading
	buf       []byte
	row       row
	congested bool
}

// subscribe joins the groups and starts the goroutine. Times count from base.
func subscribe(receiveBuffer int, base time.Time) (*subscriber, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	s := &subscriber{conn: conn, base: base, done: make(chan struct{}), buf: make([]byte, dumpBuffer)}
	if err := s.join(receiveBuffer); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("netlink destroy groups: %w", err)
	}
	go s.run()
	return s, nil
}

func (s *subscriber) join(receiveBuffer int) (err error) {
	// The default holds some 170 events. A refusal only means that more of them
	// may get lost, which is noticed.
	_ = s.conn.SetReadBuffer(receiveBuffer)
	for _, group := range []uint32{groupTCPDestroy, groupTCP6Destroy} {
		if err := s.conn.JoinGroup(group); err != nil {
			return err
		}
	}
	s.raw, err = s.conn.SyscallConn()
	return err
}

// want is that of events, and has the kernel drop what nobody wants: a busy
// neighbour then costs neither room nor time.
func (s *subscriber) want(ports *portSet, others bool) {
	s.events.want(ports, others)
	var list []uint16
	if !others {
		list = ports.list(maxFilterPorts)
	}
	if slices.Equal(list, s.filtered) {
		return
	}
	s.filtered = list
	// A refusal only means that what comes is sorted here.
	_ = s.raw.Control(func(fd uintptr) { _ = filterEvents(int(fd), list) })
}

// Close ends the goroutine.
func (s *subscriber) Close() error {
	err := s.conn.Close()
	<-s.done
	return err
}

func (s *subscriber) run() {
	defer close(s.done)
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			if empty, err := s.pump(int(fd)); err != nil || empty {
				return err != nil
			}
		}
	})
	if err != nil {
		s.fail(fmt.Errorf("destroy events: %w", err))
	}
}

// drain reads everything that is there and hands it over.
func (s *subscriber) drain(done []destroyed) (batch, error) {
	if err := s.raw.Control(func(fd uintptr) { _, _ = s.pump(int(fd)) }); err != nil {
		return batch{}, fmt.Errorf("destroy events: %w", err)
	}
	b := s.take(done)
	return b, b.err
}

// pump reads until nothing is left, or for long enough. Its error is final, and
// noted.
func (s *subscriber) pump(fd int) (empty bool, err error) {
	s.pumping.Lock()
	defer s.pumping.Unlock()
	for range maxPump {
		n, from, err := unix.Recvfrom(fd, s.buf, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		now := time.Since(s.base)
		switch {
		case err == nil && (n > len(s.buf) || n == 0):
			s.lose(now)
		case err == nil:
			if fromKernel(from) && s.parseEvents(s.buf[:n], now, &s.row) != nil {
				s.lose(now)
			}
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS):
			// The kernel says so once, and goes on dropping silently until the
			// queue is empty: netlink_overrun and netlink_rcv_wake in
			// net/netlink/af_netlink.c.
			s.congested = true
			s.lose(now)
		case errors.Is(err, unix.EAGAIN):
			if s.congested {
				s.congested = false
				s.lose(now)
			}
			return true, nil
		default:
			err = fmt.Errorf("destroy events: recvfrom: %w", err)
			s.fail(err)
			return false, err
		}
	}
	return false, nil
}
