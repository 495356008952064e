package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// signalContext is done at SIGINT or SIGTERM, its cause the exit code for it. SIGHUP counts at a
// terminal alone, where it says that the terminal is gone. Elsewhere SIGHUP tells servers to read
// their configuration again, and a SIGHUP that is sent to all processes must not end a hook.
func signalContext() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	hangsUp := hasTerminal()
	go func() {
		for s := range signals {
			if n, ok := s.(syscall.Signal); ok && (n != syscall.SIGHUP || hangsUp) {
				cancel(codeError(128 + int(n)))
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
