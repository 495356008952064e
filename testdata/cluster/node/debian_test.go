package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Scenarios run side by side, and apt-get does not. This one is ours: it fails
// where it finds itself running already, as the real one does.
func TestInstallTakesTurns(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	script := fmt.Sprintf(`#!/bin/sh
mkdir %[1]s/lock || exit 100
sleep 0.1
[ "$1" = install ] && for p in "$@"; do printf '' >"%[1]s/$p" && chmod +x "%[1]s/$p"; done
rmdir %[1]s/lock
`, dir)
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			name := fmt.Sprint("lull-missing-", i/2) // two want the same
			if err := Install(context.Background(), map[string]string{name: name}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
