package procnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tables reads /proc/net/tcp and /proc/net/tcp6 row by row through one buffer. procfs could
// read them too, but it keeps every row: 146 MB at 500,000.
type tables struct {
	root string
	buf  []byte
	line tableRow

	reads int // for tests: how many times both were read
}

const (
	// tableBuffer holds many rows; the kernel gives a page at a time.
	tableBuffer = 32 << 10

	// maxTable limits what is read of one table: 6 million rows.
	maxTable = 1 << 30

	// userHZ is how many clock ticks a second has where the kernel prints them: USER_HZ,
	// 100 on every architecture that Go runs on.
	userHZ = 100
)

// tableRow is one row of the tables.
type tableRow struct {
	state  uint8
	local  netip.AddrPort
	peer   netip.AddrPort
	rqueue uint32 // LISTEN: length of the accept queue
	owned  bool   // some process has it: its inode is not 0
	timer  uint8
	left   time.Duration // how long the timer has yet to run
}

// closed reports whether the kernel only remembers the connection: in TIME_WAIT, and in FIN_WAIT2
// once the app has closed it (get_timewait4_sock in net/ipv4/tcp_ipv4.c, which prints timer 3).
func (r *tableRow) closed() bool { return r.state == stateTimeWait || r.timer == timerTimeWait }

// waits reports whether the connection is in an accept queue: it is open, or its client has
// ended it, but no process owns it. One that a process has closed is in another state.
func (r *tableRow) waits() bool {
	return !r.owned && (r.state == stateEstablished || r.state == stateCloseWait)
}

// canReceive reports whether data may still come: the client has not ended it.
func (r *tableRow) canReceive() bool {
	switch r.state {
	case stateEstablished, stateFinWait1, stateFinWait2:
		return r.timer != timerTimeWait
	}
	return false
}

func newTables(root string) *tables {
	return &tables{root: root, buf: make([]byte, tableBuffer)}
}

// each calls f for every row of both tables, listeners first; the row is valid until f
// returns. The kernel may repeat rows, and may leave some out, if connections come and go
// meanwhile. Without IPv6 there is only one table.
func (t *tables) each(ctx context.Context, f func(*tableRow)) error {
	t.reads++
	err := t.table(ctx, "tcp", f)
	if err != nil {
		return err
	}
	if err := t.table(ctx, "tcp6", f); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// listeners calls f for every listener. The kernel lists these first, so hardly more is read than
// that.
func (t *tables) listeners(ctx context.Context, f func(*tableRow)) error {
	for _, name := range []string{"tcp", "tcp6"} {
		enough, stop := context.WithCancel(ctx)
		err := t.table(enough, name, func(r *tableRow) {
			if r.state == stateListen {
				f(r)
			} else {
				stop()
			}
		})
		stop()
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return ctx.Err()
}

func (t *tables) table(ctx context.Context, name string, f func(*tableRow)) error {
	file, err := os.Open(filepath.Join(t.root, "net", name))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := parseTable(io.LimitReader(&tableFile{ctx: ctx, file: file}, maxTable), t.buf, &t.line, f); err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	return nil
}

// tableFile reads a table to its end, which is the first read that is short. The kernel fills a
// page as long as there are rows (seq_read_iter in fs/seq_file.c). Asked for more at the end, it
// goes through the table once again and gives what has been added meanwhile (tcp_seq_start in
// net/ipv4/tcp_ipv4.c): in a long table that grows there would always be more.
type tableFile struct {
	ctx  context.Context
	file io.Reader
	over bool
}

// maxRow is longer than any row.
const maxRow = 512

func (t *tableFile) Read(b []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	if t.over {
		return 0, io.EOF
	}
	n, err := t.file.Read(b)
	t.over = n < min(len(b), os.Getpagesize())-maxRow
	return n, err
}

// parseTable reads a table as tcp4_seq_show and tcp6_seq_show print it (net/ipv4/tcp_ipv4.c,
// net/ipv6/tcp_ipv6.c): a line of headings, then one for each socket. A row must fit into buf.
func parseTable(r io.Reader, buf []byte, row *tableRow, f func(*tableRow)) error {
	start, end, lines := 0, 0, 0
	for {
		n, err := r.Read(buf[end:])
		end += n
		for {
			i := bytes.IndexByte(buf[start:end], '\n')
			if i < 0 {
				break
			}
			line := buf[start : start+i]
			start += i + 1
			lines++
			if lines == 1 {
				continue
			}
			if err := row.parse(line); err != nil {
				return fmt.Errorf("line %d: %w", lines, err)
			}
			f(row)
		}
		switch {
		case err == io.EOF && start < end:
			return fmt.Errorf("line %d: cut off: %s", lines+1, quote(buf[start:end]))
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case end-start == len(buf):
			return fmt.Errorf("line %d: longer than %d bytes", lines+1, len(buf))
		}
		end = copy(buf, buf[start:end])
		start = 0
	}
}

// parse reads a row: sl, local_address, rem_address, st, tx_queue:rx_queue, tr:tm->when,
// retrnsmt, uid, timeout, inode, and more that is of no use here. The first column has no
// fixed width, so the columns are told apart by spaces.
func (r *tableRow) parse(line []byte) error {
	var f [6][]byte
	rest := line
	for i := range f {
		if f[i], rest = field(rest); len(f[i]) == 0 {
			return fmt.Errorf("%d fields, want at least %d: %s", i, len(f), quote(line))
		}
	}
	var ok bool
	if r.local, ok = endpoint(f[1]); !ok {
		return fmt.Errorf("local_address: %s", quote(f[1]))
	}
	if r.peer, ok = endpoint(f[2]); !ok {
		return fmt.Errorf("rem_address: %s", quote(f[2]))
	}
	state, ok := hexadecimal(f[3])
	if !ok || state > 0xff {
		return fmt.Errorf("st: %s", quote(f[3]))
	}
	r.state = uint8(state)
	_, rq, _ := bytes.Cut(f[4], []byte(":"))
	queue, ok := hexadecimal(rq)
	if !ok {
		return fmt.Errorf("tx_queue:rx_queue: %s", quote(f[4]))
	}
	r.rqueue = uint32(min(queue, 1<<32-1))
	// Older kernels print a negative time as an unsigned long: it has run out
	// (jiffies_delta_to_clock_t in net/ipv4/tcp_ipv4.c of newer ones prevents that).
	tr, when, _ := bytes.Cut(f[5], []byte(":"))
	timer, ok1 := hexadecimal(tr)
	ticks, ok2 := hexadecimal(when)
	if !ok1 || !ok2 || timer > 0xff {
		return fmt.Errorf("tr:tm->when: %s", quote(f[5]))
	}
	var inode []byte
	for range 4 {
		inode, rest = field(rest)
	}
	r.owned = string(inode) != "0" // a row without an inode is taken for an accepted one
	r.timer, r.left = uint8(timer), 0
	if ticks < 1<<31 {
		r.left = time.Duration(ticks) * time.Second / userHZ
	}
	return nil
}

// endpoint reads an address as the kernel prints it: 32-bit words, each the
// number that its bytes make in host order, and a port.
func endpoint(b []byte) (netip.AddrPort, bool) {
	text, p, _ := bytes.Cut(b, []byte(":"))
	port, ok := hexadecimal(p)
	if !ok || port > 0xffff || len(text)%8 != 0 {
		return netip.AddrPort{}, false
	}
	var a [16]byte
	if len(text) != 8 && len(text) != 32 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(text); i += 8 {
		word, ok := hexadecimal(text[i : i+8])
		if !ok {
			return netip.AddrPort{}, false
		}
		native.PutUint32(a[i/2:], uint32(word))
	}
	if len(text) == 8 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[:4])), uint16(port)), true
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), uint16(port)), true
}

func hexadecimal(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 16 {
		return 0, false
	}
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(c)
	}
	return n, true
}

// field splits off the first word; it is empty at the end.
func field(b []byte) (word, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	b = b[i:]
	for i = 0; i < len(b) && b[i] != ' ' && b[i] != '\t'; i++ {
	}
	return b[:i], b[i:]
}

// quote is the start of b, for an error.
func quote(b []byte) string {
	const most = 40
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "..."
	}
	return strconv.Quote(string(b))
}
