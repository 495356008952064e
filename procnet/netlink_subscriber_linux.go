package procnet

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Multicast groups of NETLINK_SOCK_DIAG, linux/sock_diag.h; since Linux 4.2.
const (
	groupTCPDestroy  = 1 // SKNLGRP_INET_TCP_DESTROY
	groupTCP6Destroy = 3 // SKNLGRP_INET6_TCP_DESTROY
)

const (
	// maxPump limits the events that one pump reads, so that it ends however fast they come.
	maxPump = 4 * maxEvents

	// gathering is how long events are left in the kernel before they are read
	// together. To wake up for each takes twice the CPU. A buffer that cannot be made
	// larger than the default has room for 340 events once it was asked for, and so
	// holds what comes in that time at 10,000 a second.
	gathering = 20 // ms
)

// subscriber reads the destroy groups into events. Its goroutine sleeps until there is something to
// read. A look reads by itself too, so that nothing lies unread because the goroutine had no CPU.
//
// The goroutine sleeps in poll(2), and the runtime's poller does not know the socket:
// the poller would wake up for each event, whether or not anybody waits.
type subscriber struct {
	events
	base time.Time
	end  int           // an eventfd, readable once the goroutine is to end
	done chan struct{} // closed when it has ended

	closing sync.Once

	filtered []uint16 // the ports that the kernel's filter lets through; none: all

	read func(fd int, b []byte) (int, error) // unix.Read, if no test has another kernel

	pumping   sync.Mutex // guards what follows, and the order of reading
	fd        int        // -1 once closed
	buf       []byte
	row       row
	congested bool
	pumps     int // for tests: how often it was read
}

// subscribe joins the groups and starts the goroutine. Times count from base.
func subscribe(receiveBuffer int, base time.Time) (*subscriber, error) {
	fd, err := netlinkSocket()
	if err != nil {
		return nil, err
	}
	end, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err == nil {
		err = join(fd, receiveBuffer)
	} else {
		end = -1
	}
	if err != nil {
		_, _ = unix.Close(fd), unix.Close(end)
		return nil, fmt.Errorf("netlink destroy groups: %w", err)
	}
	s := &subscriber{fd: fd, end: end, base: base, done: make(chan struct{}), read: unix.Read, buf: make([]byte, dumpBuffer)}
	go s.run()
	return s, nil
}

func join(fd, receiveBuffer int) error {
	// The default holds some 170 events. A refusal only means that more of them
	// may get lost, which is noticed.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	for _, group := range []int{groupTCPDestroy, groupTCP6Destroy} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return connectKernel(fd)
}

// want does what events.want does, and has the kernel drop what is not wanted: a busy
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
	s.pumping.Lock()
	defer s.pumping.Unlock()
	if len(list) > 0 && filterEvents(s.fd, list) == nil {
		s.filtered = list
		return
	}
	// Either all are wanted, or the kernel has no memory for the new filter. The old one
	// would drop what is wanted now. Without a filter, events are sorted here.
	if len(s.filtered) == 0 {
		return
	}
	s.filtered = nil
	if err := unfilterEvents(s.fd); err != nil {
		s.fail(fmt.Errorf("destroy events: %w", err))
	}
}

// Close ends the goroutine. A second call does nothing.
func (s *subscriber) Close() (err error) {
	s.closing.Do(func() {
		if _, err = unix.Write(s.end, []byte{7: 1}); err != nil {
			err = os.NewSyscallError("write", err)
			return
		}
		<-s.done
		s.pumping.Lock()
		defer s.pumping.Unlock()
		_ = unix.Close(s.end)
		err = os.NewSyscallError("close", unix.Close(s.fd))
		s.fd = -1
	})
	return err
}

func (s *subscriber) run() {
	defer close(s.done)
	for {
		if !s.waits(s.fd, -1) || !s.waits(-1, gathering) {
			return
		}
		for empty := false; !empty; {
			var err error
			if empty, err = s.pump(); err != nil {
				return
			}
		}
	}
}

// waits sleeps until fd has something to read, or for so many ms; a negative fd or time
// means none. It reports whether the goroutine is to go on.
func (s *subscriber) waits(fd, limit int) bool {
	for {
		wait := []unix.PollFd{{Fd: int32(s.end), Events: unix.POLLIN}, {Fd: int32(fd), Events: unix.POLLIN}}
		_, err := unix.Poll(wait, limit)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			s.fail(fmt.Errorf("destroy events: %w", os.NewSyscallError("poll", err)))
			return false
		default:
			return wait[0].Revents == 0
		}
	}
}

// drain reads everything that is there and hands it over.
func (s *subscriber) drain(used []destroyed) (eventLog, error) {
	_, _ = s.pump() // its error is kept
	log := s.take(used)
	return log, log.err
}

// pump reads until nothing is left, or maxPump times. Its error is final, and kept.
func (s *subscriber) pump() (empty bool, err error) {
	s.pumping.Lock()
	defer s.pumping.Unlock()
	s.pumps++
	for range maxPump {
		n, err := s.read(s.fd, s.buf)
		now := time.Since(s.base)
		switch {
		case err == nil:
			if n == 0 || s.parseEvents(s.buf[:n], now, &s.row) != nil {
				s.lose(now)
			}
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS):
			// The kernel says so once, and goes on dropping silently until the queue is empty:
			// netlink_overrun and netlink_rcv_wake in net/netlink/af_netlink.c.
			s.congested = true
			s.lose(now)
		case errors.Is(err, unix.EAGAIN):
			if s.congested {
				s.congested = false
				s.lose(now)
			}
			return true, nil
		default:
			err = fmt.Errorf("destroy events: %w", os.NewSyscallError("read", err))
			s.fail(err)
			return false, err
		}
	}
	return false, nil
}
