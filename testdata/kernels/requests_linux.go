package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Message types of NETLINK_SOCK_DIAG: linux/inet_diag.h and linux/sock_diag.h.
const (
	getSock  = 18 // TCPDIAG_GETSOCK
	byFamily = 20 // SOCK_DIAG_BY_FAMILY
)

// requests tries what the source "netlink" asks of the kernel, and returns what works, and how many
// of 20 connections report their end.
func requests() (works []string, events string) {
	fd, err := diagSocket()
	if err != nil {
		return []string{err.Error()}, "not run: no destroy groups"
	}
	defer unix.Close(fd)
	works = append(works, "socket")
	old := make([]byte, 60) // struct inet_diag_req
	binary.NativeEndian.PutUint32(old[52:], ^uint32(0))
	if dumps(getSock, old) {
		works = append(works, "TCPDIAG_GETSOCK")
	}
	req := make([]byte, 56) // struct inet_diag_req_v2
	req[0], req[1] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(req[4:], ^uint32(0))
	if dumps(byFamily, req) {
		works = append(works, "SOCK_DIAG_BY_FAMILY")
	}
	for _, group := range []int{1, 3} { // SKNLGRP_INET_TCP_DESTROY and SKNLGRP_INET6_TCP_DESTROY
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return works, "not run: no destroy groups"
		}
	}
	return append(works, "destroy groups"), destroyed(fd)
}

func diagSocket() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err == nil {
		timeout := unix.NsecToTimeval(int64(time.Second))
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// dumps reports whether a dump shows a listener of ours. An answer without any socket is how some
// kernels say that they have no module for the request.
func dumps(kind uint16, body []byte) bool {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return false
	}
	defer l.Close()
	fd, err := diagSocket()
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	header := make([]byte, 16)
	binary.NativeEndian.PutUint32(header, uint32(len(header)+len(body)))
	binary.NativeEndian.PutUint16(header[4:], kind)
	binary.NativeEndian.PutUint16(header[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(fd, append(header, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false
	}
	buf := make([]byte, 1<<16)
	n, err := unix.Read(fd, buf)
	return err == nil && n > 16 && binary.NativeEndian.Uint16(buf[4:]) == kind
}

// destroyed ends some connections and counts the reports of the server's ends.
func destroyed(fd int) string {
	const n = 20
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	for range n {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			return err.Error()
		}
		s, err := l.Accept()
		if err != nil {
			return err.Error()
		}
		c.Close()
		_, _ = s.Read(make([]byte, 1)) // until the client has ended it
		s.Close()
	}
	seen, buf := 0, make([]byte, 1<<16)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			break // nothing for a second
		}
		// struct nlmsghdr, and then a struct inet_diag_msg with the ports at 4 and 6.
		if n >= 16+72 && binary.BigEndian.Uint16(buf[16+4:]) == port && binary.BigEndian.Uint16(buf[16+6:]) != 0 {
			seen++
		}
	}
	return fmt.Sprintf("%d/%d", seen, n)
}
