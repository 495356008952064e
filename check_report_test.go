package main

import (
	"strings"
	"testing"
)

// A person's table has colours, unless the person wants none or the output is no terminal.
func TestTable(t *testing.T) {
	t.Parallel()
	r := &report{}
	r.say("plan", "hold")
	r.lack("hook", "a hook")
	r.warn("rights", "no right")
	r.finish()
	for _, tt := range []struct {
		colours bool
		want    string
	}{
		{false, "plan    hold\nrights  warning: no right\nlacks   a hook\n"},
		{true, "\x1b[32mplan\x1b[0m    hold\n\x1b[33mrights\x1b[0m  warning: no right\n\x1b[31mlacks\x1b[0m   a hook\n"},
	} {
		var b strings.Builder
		table{&b, tt.colours}.print(r)
		if b.String() != tt.want {
			t.Errorf("colours %t: %q\nwant %q", tt.colours, b.String(), tt.want)
		}
	}
	all := &report{}
	all.say("plan", "hold")
	all.finish()
	var b strings.Builder
	table{&b, true}.print(all)
	if want := "\x1b[32mplan\x1b[0m   hold\n\x1b[32mlacks\x1b[0m  nothing\n"; b.String() != want {
		t.Errorf("%q\nwant %q", b.String(), want)
	}
}
