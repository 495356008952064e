package main

import (
	"strings"
	"testing"
)

func TestIsServiceLink(t *testing.T) {
	for kv, want := range map[string]bool{
		"LULL_PORT=tcp://10.0.0.1:80":           true,
		"LULL_PORT=udp://[fd00::1]:53":          true,
		"LULL_PORT=sctp://10.0.0.1:9":           true,
		"LULL_PORT=8080":                        false,
		"LULL_PORT=http://10.0.0.1:80":          false,
		"LULL_PORT=tcp":                         false,
		"LULL_DRAIN=http://127.0.0.1:9/drain":   false,
		"LULL_QUIET=tcp://10.0.0.1:80":          false,
		"LULL_PORT_80_TCP=tcp://10.0.0.1:80":    false, // no flag's name
		"LULL_DRAIN=get:http://localhost/drain": false,
	} {
		name, value, _ := strings.Cut(kv, "=")
		if got := isServiceLink(name, value); got != want {
			t.Errorf("%s: %v, want %v", kv, got, want)
		}
	}
	for _, f := range hookFlagsOf(t) {
		for _, name := range f.Envs {
			for _, of := range []string{"_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_TCP", "_PROTO", "_ADDR"} {
				if strings.HasSuffix(name, of) && name != "LULL_PORT" {
					t.Errorf("%s may be a Service's", name)
				}
			}
		}
	}
}
