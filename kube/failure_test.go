package kube

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		err     error
		want    string
		refused bool
	}{
		{&url.Error{Op: "Get", URL: "https://user:secret@10.0.0.1/api?x=eyJhbGciOiJ9.e30.x", Err: errors.New("connection refused")},
			"cannot get pods: connection refused", false},
		{&url.Error{Op: "Get", URL: "https://user:secret@10.0.0.1/api", Err: context.DeadlineExceeded},
			"cannot get pods: no answer from the API server in time", false},
		{errors.New("two\nlines\x00 and\ta\x1b[31mcolour \xff"), "cannot get pods: two lines and a [31mcolour", false},
		{errors.New("proxy http://user:secret@proxy:3128 says Authorization: Bearer abcdefghijkl and eyJhbGciOiJub25lIn0.e30.sig"),
			"cannot get pods: proxy http://[credentials]@proxy:3128 says Authorization: Bearer [token] and [token]", false},
	} {
		got := explain(op{"get", podResource}, "default", tt.err)
		if got.err.Error() != tt.want || got.refused != tt.refused {
			t.Errorf("refused %v: %v\nwant %s", got.refused, got.err, tt.want)
		}
	}
}

func TestOneLineIsBounded(t *testing.T) {
	if n := len(oneLine(strings.Repeat("é\n", 1<<20))); n > 500 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.sig\r\n")
	f.Add(fmt.Sprintf("%s://a:b@c", strings.Repeat("x", 390)))
	f.Fuzz(func(t *testing.T, text string) {
		line := oneLine(text)
		if len(line) > 500 || strings.ContainsAny(line, "\r\n\x00\x1b") || strings.ToValidUTF8(line, "") != line {
			t.Errorf("%q", line)
		}
	})
}
