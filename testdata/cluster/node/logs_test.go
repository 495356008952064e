package node

import (
	"testing"
	"time"
)

func TestParseLogLine(t *testing.T) {
	l, ok := parseLogLine("2026-11-23T10:31:07.634013936Z stderr F {\"msg\":\"a  b\"}\n")
	if want := time.Date(2026, 11, 23, 10, 31, 7, 634013936, time.UTC); !ok || !l.Time.Equal(want) || l.Text != `{"msg":"a  b"}` {
		t.Errorf("got %v %q, %t", l.Time, l.Text, ok)
	}
	for _, bad := range []string{"", "\n", "x", "2026-11-23T10:31:07Z stderr F", "yesterday stderr F text"} {
		if _, ok := parseLogLine(bad); ok {
			t.Errorf("%q was taken for a line", bad)
		}
	}
}

func FuzzParseLogLine(f *testing.F) {
	f.Add("2026-11-23T10:31:07.634013936Z stderr F text\n")
	f.Add(" stderr F \n")
	f.Fuzz(func(t *testing.T, line string) {
		if l, ok := parseLogLine(line); ok && len(l.Text) > len(line) {
			t.Errorf("%q became longer", line)
		}
	})
}
