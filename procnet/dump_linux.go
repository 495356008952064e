package procnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// dumpBuffer is what the kernel fills per recv at most: netlink_recvmsg in
	// net/netlink/af_netlink.c.
	dumpBuffer = 32 << 10

	// dumpTimeout is how long the next part of a dump may take. The kernel makes
	// it inside send and recv, so this is for sandboxes that only look like one.
	dumpTimeout = 3 * time.Second
)

// errInterrupted says that the kernel noticed a change that upset a dump.
var errInterrupted = errors.New("interrupted")

// dumper asks for dumps of sockets and reads them in place: every row passes
// through one buffer and one struct.
type dumper struct {
	conn     *netlink.Conn
	raw      syscall.RawConn
	buf      []byte
	row      row
	byFamily bool // TCPDIAG_GETSOCK is not served here
	noFilter bool // neither is the bytecode
	dumps    int  // for tests: how many dumps of connections were made

	received received
}

// received is the outcome of a read. That it is no local variable saves
// allocating it for each.
type received struct {
	n     int
	err   error
	ready func(fd uintptr) bool
}

func openDumper() (*dumper, error) {
	d := &dumper{buf: make([]byte, dumpBuffer)}
	r := &d.received
	r.ready = func(fd uintptr) bool {
		r.n, r.err = unix.Read(int(fd), d.buf)
		return !errors.Is(r.err, unix.EAGAIN) && !errors.Is(r.err, unix.EINTR)
	}
	return d, d.dial()
}

func (d *dumper) dial() error {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var refused error
		err = raw.Control(func(fd uintptr) { refused = connectKernel(int(fd)) })
		err = cmp.Or(err, refused)
	}
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("netlink: %w", err)
	}
	d.conn, d.raw = conn, raw
	return nil
}

// connectKernel makes a netlink socket one that nobody but the kernel can send
// to: netlink_getsockbyportid in net/netlink/af_netlink.c refuses others, since it
// is connected to port 0. So what is read from it needs no look at its sender,
// and no memory for that. A multicast to the destroy groups takes CAP_NET_ADMIN
// (netlink_sendmsg), and who has that can do worse.
func connectKernel(fd int) error {
	return os.NewSyscallError("connect", unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

func (d *dumper) Close() error {
	if d.conn == nil {
		return nil
	}
	err := d.conn.Close()
	d.conn = nil
	return err
}

// dump calls f for every socket that q asks for; the row is valid until f
// returns. Rows on other ports may be among them. A dump that fails leaves
// nothing behind: the next one starts on a new socket.
func (d *dumper) dump(ctx context.Context, q request, f func(*row)) error {
	if q.states != listenStates {
		d.dumps++
	}
	if d.noFilter && len(q.ports) > 1 {
		q.ports = nil
	}
	err := d.families(ctx, q, f)
	if errors.Is(err, unix.EINVAL) && len(q.ports) > 1 {
		d.noFilter, q.ports = true, nil
		err = d.families(ctx, q, f)
	}
	return err
}

func (d *dumper) families(ctx context.Context, q request, f func(*row)) error {
	if !d.byFamily {
		err := d.one(ctx, msgGetSock, q.both(), f)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	if err := d.one(ctx, msgByFamily, q.family(familyInet), f); err != nil {
		return err
	}
	if err := d.one(ctx, msgByFamily, q.family(familyInet6), f); err != nil {
		return err
	}
	d.byFamily = true
	return nil
}

// one makes one dump.
func (d *dumper) one(ctx context.Context, kind uint16, body []byte, f func(*row)) error {
	if d.conn == nil {
		if err := d.dial(); err != nil {
			return err
		}
	}
	err := d.exchange(ctx, kind, body, f)
	var refused refusal
	if err != nil && !errors.As(err, &refused) {
		_ = d.Close() // the rest of it may still come, and until then the kernel starts no other
	}
	if err != nil {
		return fmt.Errorf("socket dump: %w", err)
	}
	return nil
}

// refusal is the kernel's answer that there will be no dump.
type refusal struct{ unix.Errno }

func (r refusal) Unwrap() error { return r.Errno }

func (d *dumper) exchange(ctx context.Context, kind uint16, body []byte, f func(*row)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn := d.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	sent, err := conn.Send(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Dump},
		Data:   body,
	})
	if err != nil {
		return err
	}
	interrupted := false
	for {
		if err := conn.SetReadDeadline(time.Now().Add(dumpTimeout)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err() // or else that has put the end off
		}
		b, err := d.receive()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("no answer within %s", dumpTimeout)
		}
		if err != nil {
			return err
		}
		done, err := d.parse(b, sent.Header, &interrupted, f)
		if err != nil {
			return err
		}
		if done && interrupted {
			return errInterrupted
		}
		if done {
			return nil
		}
	}
}

// receive reads what the kernel has ready: several messages at a time. It makes
// them fit into what was offered (netlink_dump); one that did not would be cut
// off, which its length tells.
func (d *dumper) receive() ([]byte, error) {
	r := &d.received
	err := d.raw.Read(r.ready)
	switch {
	case err != nil:
		return nil, err
	case r.err != nil:
		return nil, os.NewSyscallError("read", r.err)
	case r.n == 0:
		return nil, errors.New("empty answer")
	}
	return d.buf[:r.n], nil
}

// parse hands on the rows in b, and reports whether that was the last of them.
func (d *dumper) parse(b []byte, sent netlink.Header, interrupted *bool, f func(*row)) (done bool, err error) {
	for len(b) > 0 {
		var m message
		if m, b, err = nextMessage(b); err != nil {
			return false, err
		}
		if m.seq != sent.Sequence || m.port != sent.PID {
			continue
		}
		if m.flags&flagDumpInterrupted != 0 {
			*interrupted = true
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
