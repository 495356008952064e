package procnet

import (
	"os"
	"testing"

	"lull/testdata/crowd"
	"lull/testdata/ownnet"
)

// The tests run in a network namespace of their own. Without the right to make
// one they stay where they are, and what needs quiet is skipped.
func TestMain(m *testing.M) {
	crowd.Main()
	if method := os.Getenv(methodEnv); method != "" {
		os.Exit(peakOf(method)) // does not run tests
	}
	os.Exit(ownnet.Run(m.Run))
}

// needQuiet skips a test that other people's traffic would upset.
func needQuiet(t testing.TB) {
	t.Helper()
	if !ownnet.Own {
		t.Skip("needs a network namespace of its own: the counters here move by themselves")
	}
}
