package main

import (
	"strings"
	"testing"
)

// FuzzFlags gives a hook any command line, its arguments on lines: what is wrong is told in a line
// each, and what is left is a whole command line.
func FuzzFlags(f *testing.F) {
	for _, line := range []string{
		"--quiet=5s", "--quiet\n5s\n--min=0", "--port=8080\n--port\nweb", "--ignore=10.0.0.0/8\n--ignore=::1", "--max-open=any\n--timeout=auto",
		"--drain=HUP", "--drain=get:http://localhost:8080/x", "--service=\n--", "wait\n--debug\n-\n--", "--log=none\n--format=json\n--disabled=false",
	} {
		f.Add(line)
	}
	unsetFlags(func(string, string) bool { return true })
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, "\n")
		for _, a := range args {
			// These end the process where the rest of the command line is right.
			if a = strings.TrimLeft(a, "-"); strings.HasPrefix(a, "h") || strings.HasPrefix(a, "version") {
				t.Skip()
			}
		}
		c, wrong := parseRight(args)
		for _, err := range wrong {
			if err.Error() == "" {
				t.Error("says nothing")
			}
		}
		if err := c.Wait.Validate(); err != nil {
			t.Errorf("goes on with what is wrong: %v", err)
		}
		c.Wait.policy()
	})
}
