package kube_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs more tests at once than there are cores: most of their time goes by in waiting, for
// a server that is slow, silent or about to be asked again.
func TestMain(m *testing.M) {
	flag.Parse()
	// Nobody listens there. net/http reads it once, and never uses it for loopback, where the
	// tests' servers are.
	os.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// long leaves a test out of -short.
func long(t *testing.T, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: " + why)
	}
}
