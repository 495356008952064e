package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestDrainSignals: no signal is taken that ends a program by convention, or reports a fault.
func TestDrainSignals(t *testing.T) {
	taken := map[string]bool{"SIGHUP": true, "SIGUSR1": true, "SIGUSR2": true, "SIGWINCH": true}
	for s := unix.Signal(1); s < 32; s++ {
		name := unix.SignalName(s)
		d := drainer{}
		if err := d.UnmarshalText([]byte(name)); (err == nil) != taken[name] || err == nil && d.signal != s {
			t.Errorf("%s: signal %d, %v", name, d.signal, err)
		}
	}
	for _, name := range []string{"", "1", "SIG", "RTMIN", "HUP USR1"} {
		if err := (&drainer{}).UnmarshalText([]byte(name)); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

// TestDrainURLs: the form is checked where the flag is read, and whose address it is where the hook
// runs.
func TestDrainURLs(t *testing.T) {
	for text, want := range map[string]struct{ read, own bool }{
		"http://127.0.0.1:8080/drain":     {true, true},
		"get:http://localhost/drain":      {true, true},
		"http://[::1]:8080/drain":         {true, true},
		"http://[::ffff:127.0.0.1]/drain": {true, true},
		"http://192.0.2.7/drain":          {true, false},
		"http://[2001:db8::7]:9/drain":    {true, false},
		"http://web/drain":                {},
		"http://localhost.example/drain":  {},
		"http:///drain":                   {},
		"https://127.0.0.1/drain":         {},
		"http://127.0.0.1:99999/drain":    {},
		"http://me@127.0.0.1/drain":       {},
	} {
		d := &drainer{}
		err := d.UnmarshalText([]byte(text))
		if (err == nil) != want.read {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil {
			continue
		}
		if err := d.checkOwn(); (err == nil) != want.own {
			t.Errorf("%s: of this pod: %v", text, err)
		}
		if _, err := parseAlone(nil, []string{"--drain=" + text}); err != nil {
			t.Errorf("lull check refuses another pod's: %v", err)
		}
	}
}
