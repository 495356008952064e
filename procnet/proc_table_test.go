package procnet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// rowText is a row as the tests write it.
func rowText(r *tableRow) string {
	s := fmt.Sprintf("%s %s %d", r.local, r.peer, r.state)
	if r.rqueue > 0 {
		s += fmt.Sprintf(" queue %d", r.rqueue)
	}
	if r.closed() {
		s += fmt.Sprintf(" closed, %s left", r.left)
	}
	return s
}

func rowsOf(t *testing.T, root string) []string {
	t.Helper()
	var rows []string
	tables := newTables(filepath.Join("testdata", root))
	if err := tables.each(context.Background(), func(r *tableRow) { rows = append(rows, rowText(r)) }); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestTables(t *testing.T) {
	tests := map[string][]string{
		"linux-6.18": {
			"0.0.0.0:6060 0.0.0.0:0 10 queue 2",
			"0.0.0.0:7070 0.0.0.0:0 10",
			"127.0.0.1:9090 0.0.0.0:0 10",
			"127.0.0.1:9090 127.0.0.1:40003 5 closed, 59.7s left",
			"127.0.0.1:7070 127.0.0.1:40005 3",
			"127.0.0.1:9090 127.0.0.1:40004 6 closed, 59.7s left",
			"127.0.0.1:6060 127.0.0.1:40007 1",
			"127.0.0.1:40001 127.0.0.1:8080 1",
			"127.0.0.1:6060 127.0.0.1:40006 1",
			"127.0.0.1:40006 127.0.0.1:6060 1",
			"127.0.0.1:40007 127.0.0.1:6060 1",
			"127.0.0.1:41630 127.0.0.1:6060 2",
			"127.0.0.1:40005 127.0.0.1:7070 1",
			"127.0.0.1:40003 127.0.0.1:9090 8 queue 1",
			"[::]:8080 [::]:0 10",
			"127.0.0.1:8080 127.0.0.1:40001 1",
			"[::1]:8080 [::1]:40002 1",
			"[::1]:40002 [::1]:8080 1",
		},
		"old": { // rows of five digits, a timer that has run out, no tcp6
			"0.0.0.0:8080 0.0.0.0:0 10 queue 3",
			"127.0.0.1:8080 127.0.0.1:54321 6 closed, 1m0s left",
			"127.0.0.1:8080 127.0.0.1:54322 6 closed, 0s left",
		},
	}
	for root, want := range tests {
		t.Run(root, func(t *testing.T) {
			if d := cmp.Diff(want, rowsOf(t, root)); d != "" {
				t.Error(d)
			}
		})
	}
}

// However the reads fall, the rows are the same.
func TestParseTableInPieces(t *testing.T) {
	text := readTestdata(t, "linux-6.18/net/tcp")
	want := strings.Count(string(text), "\n") - 1
	for _, size := range []int{200, 256, 1000, tableBuffer} {
		rows := 0
		if err := parseTable(iotest.OneByteReader(bytes.NewReader(text)), make([]byte, size), new(tableRow), func(*tableRow) { rows++ }); err != nil || rows != want {
			t.Errorf("buffer of %d: %d rows, %v, want %d", size, rows, err, want)
		}
	}
}

// rowsInPage is how many rows of 150 bytes fit into a page, of which kernels have several sizes.
var rowsInPage = os.Getpagesize() / 150

// growing is a table as the kernel gives it: pages of rows and then the end, but
// one who goes on reading finds that more have come.
type growing struct{ full, reads int }

func (g *growing) Read(b []byte) (int, error) {
	g.reads++
	rows := rowsInPage
	if g.reads > g.full {
		rows = 3
	}
	return copy(b, strings.Repeat(fmt.Sprintf("%-149s\n", "   0: 0100007F:1F90 0100007F:D431 06 00000000:00000000 03:00001770"), rows)), nil
}

func TestGrowingTable(t *testing.T) {
	for _, full := range []int{0, 1, 100} {
		g, rows := &growing{full: full}, 0
		err := parseTable(&tableFile{ctx: t.Context(), file: g}, make([]byte, tableBuffer+os.Getpagesize()), new(tableRow), func(*tableRow) {
			if rows++; rows > rowsInPage*(full+1) {
				t.Fatal("it has no end")
			}
		})
		if want := rowsInPage*full + 3 - 1; err != nil || rows != want || g.reads != full+1 {
			t.Errorf("%d pages: %d rows, want %d, in %d reads, %v", full, rows, want, g.reads, err)
		}
	}
}

func TestParseTableErrors(t *testing.T) {
	const good = "   0: 0100007F:1F90 0100007F:D431 06 00000000:00000000 03:00001770 0\n"
	tests := map[string]string{
		"too few":     "   0: 0100007F:1F90\n",
		"local":       strings.Replace(good, "0100007F:1F90", "0100007:1F90", 1),
		"long local":  strings.Replace(good, "0100007F:1F90", strings.Repeat("01", 20)+":1F90", 1),
		"peer":        strings.Replace(good, "D431", "1D431", 1),
		"state":       strings.Replace(good, " 06 ", " 0x6 ", 1),
		"wide state":  strings.Replace(good, " 06 ", " 106 ", 1),
		"queue":       strings.Replace(good, "00000000:00000000", "00000000", 1),
		"timer":       strings.Replace(good, "03:", "03", 1),
		"cut off":     good[:30],
		"endless row": strings.Repeat("x", 1000),
	}
	for name, row := range tests {
		t.Run(name, func(t *testing.T) {
			rows := 0
			err := parseTable(strings.NewReader("heading\n"+good+row), make([]byte, 500), new(tableRow), func(*tableRow) { rows++ })
			if err == nil || rows != 1 || !strings.HasPrefix(err.Error(), "line 3: ") || len(err.Error()) > 120 {
				t.Errorf("%d rows, %v", rows, err)
			}
		})
	}
}

func FuzzParseTable(f *testing.F) {
	for _, name := range []string{"linux-6.18/net/tcp", "linux-6.18/net/tcp6", "old/net/tcp", "sandbox/net/tcp"} {
		f.Add(readTestdata(f, name))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := bytes.Count(text, []byte("\n"))
		rows := 0
		err := parseTable(bytes.NewReader(text), make([]byte, 512), new(tableRow), func(r *tableRow) {
			rows++
			if !r.local.IsValid() || !r.peer.IsValid() || r.left < 0 {
				t.Errorf("row %+v", *r)
			}
		})
		if rows > lines || err == nil && lines > 0 && rows != lines-1 {
			t.Errorf("%d rows of %d lines, %v", rows, lines, err)
		}
	})
}
