package procnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dumpBuffer is the most that the kernel fills in one read: netlink_recvmsg in
	// net/netlink/af_netlink.c.
	dumpBuffer = 32 << 10

	// dumpTimeout limits the wait for the next part of a dump. The kernel makes that
	// part inside the read itself, so the limit is for sandboxes that never answer.
	dumpTimeout = 3 * time.Second
)

// dumper asks the kernel for dumps of sockets. Every row passes through one buffer
// and one struct, so a dump allocates the same however many rows it has.
type dumper struct {
	open   func() (netlinkFile, uint32, error) // openNetlinkFile, if no test has another kernel
	file   netlinkFile                         // nil: the next dump opens a new socket
	portID uint32                              // the kernel's address of that socket
	seq    uint32
	buf    []byte
	row    row
	dumps  int // for tests: how many dumps of connections were made
}

// netlinkFile is what a dumper needs of an *os.File.
type netlinkFile interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
}

func openDumper() (*dumper, error) {
	d := &dumper{open: openNetlinkFile, buf: make([]byte, dumpBuffer)}
	return d, d.dial()
}

func (d *dumper) dial() (err error) {
	d.file, d.portID, err = d.open()
	return err
}

// openNetlinkFile opens a socket, and returns the kernel's address of it, too. The socket is
// nonblocking, so that os.File gives it deadlines.
func openNetlinkFile() (file netlinkFile, portID uint32, err error) {
	fd, err := netlinkSocket()
	if err != nil {
		return nil, 0, err
	}
	err = connectKernel(fd)
	var local unix.Sockaddr
	if err == nil {
		local, err = unix.Getsockname(fd)
		err = os.NewSyscallError("getsockname", err)
	}
	address, ok := local.(*unix.SockaddrNetlink)
	if err == nil && !ok {
		err = errors.New("getsockname: no netlink address")
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, 0, fmt.Errorf("netlink: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), address.Pid, nil
}

func netlinkSocket() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, fmt.Errorf("netlink: %w", os.NewSyscallError("socket", err))
	}
	return fd, nil
}

// connectKernel connects a netlink socket to the kernel, which is port 0. After that nobody else
// can send to it (netlink_getsockbyportid in net/netlink/af_netlink.c), so the sender of a message
// need not be checked. Only a multicast to the destroy groups still arrives. It takes CAP_NET_ADMIN
// (netlink_sendmsg), and a process that has this can do worse.
func connectKernel(fd int) error {
	return os.NewSyscallError("connect", unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

func (d *dumper) Close() error {
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	return err
}

// dump calls f for every socket that q asks for; the row is valid until f returns.
// Rows on other ports may be among them. A dump that fails leaves nothing behind: the
// next one opens a new socket.
func (d *dumper) dump(ctx context.Context, q request, f func(*row)) error {
	if q.states != listenStates {
		d.dumps++
	}
	if d.file == nil {
		if err := d.dial(); err != nil {
			return err
		}
	}
	err := d.exchange(ctx, q, f)
	if err == nil {
		return nil
	}
	if _, refused := errors.AsType[refusal](err); !refused {
		_ = d.Close() // the rest of it may still come, and until then the kernel starts no other
	}
	return dumpError(err)
}

// dumpError says in words what the kernel means if nobody serves the request, and no module for it
// could be loaded: EOPNOTSUPP without inet_diag (sock_diag_rcv_msg in net/core/sock_diag.c), ENOENT
// without tcp_diag (inet_diag_lock_handler in net/ipv4/inet_diag.c).
func dumpError(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("socket dump: the kernel has no module inet_diag: %w", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("socket dump: the kernel has no module tcp_diag: %w", err)
	}
	return fmt.Errorf("socket dump: %w", err)
}

// refusal is the kernel's answer that there will be no dump.
type refusal struct{ unix.Errno }

func (r refusal) Unwrap() error { return r.Errno }

func (d *dumper) exchange(ctx context.Context, q request, f func(*row)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file := d.file
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	d.seq++
	if _, err := file.Write(q.message(d.seq)); err != nil {
		return err
	}
	for {
		if err := file.SetReadDeadline(time.Now().Add(dumpTimeout)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err() // the line above may have undone what AfterFunc did
		}
		// The kernel makes messages that fit into what is offered (netlink_dump). The
		// length of one that did not would show that it was cut off.
		n, err := file.Read(d.buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("no answer within %s", dumpTimeout)
		case err != nil:
			return err
		}
		if done, err := d.parse(d.buf[:n], f); done || err != nil {
			return err
		}
	}
}

// parse passes on the rows in b, and reports whether the dump is over.
func (d *dumper) parse(b []byte, f func(*row)) (done bool, err error) {
	for len(b) > 0 {
		var m message
		if m, b, err = nextMessage(b); err != nil {
			return false, err
		}
		if m.seq != d.seq || m.port != d.portID {
			continue
		}
		switch m.kind {
		case msgDone, msgError:
			if errno := m.status(); errno < 0 {
				return true, refusal{unix.Errno(-errno)}
			}
			return true, nil
		case msgByFamily, msgGetSock:
			if err := parseRow(m.body, &d.row); err != nil {
				return false, err
			}
			f(&d.row)
		}
	}
	return false, nil
}
