package main

import (
	"log/slog"
	"os"
	"syscall"
)

// lead waits for the lock on a file and keeps it: the kernel takes it back when the process ends.
func (s *server) lead(file string) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		slog.Error("no lock", "error", err.Error())
		return
	}
	s.lockFile = f // a file that is collected is closed, and its lock gone
	s.leader.Store(true)
	slog.Info("leader")
}
