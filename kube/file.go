package kube

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// maxFile is how large a file may be that says how to reach the API server. A kubeconfig for
// hundreds of clusters has less.
const maxFile = 4 << 20

// canBeRead refuses what client-go would read for ever or into more memory than there is: it takes
// whatever opens, and a FIFO opens only when somebody writes to it. Of files that are missing
// client-go tells.
func canBeRead(files ...string) error {
	for _, name := range files {
		info, err := os.Stat(name)
		switch {
		case err != nil, name == os.DevNull: // kubectl's way to have none
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is no regular file", oneLine(name))
		case info.Size() > maxFile:
			return fmt.Errorf("%s is larger than %d MiB", oneLine(name), maxFile>>20)
		}
	}
	return nil
}

// readWord returns what a file holds, without the space around it; "" if that cannot be read. It
// waits for nobody to open the other end of a FIFO.
func readWord(name string, most int64) string {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
