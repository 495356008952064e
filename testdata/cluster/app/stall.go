package main

import (
	"log/slog"
	"time"
)

// tellStalls sleeps for short times and logs when it wakes up much too late: what shares a pod's
// processors with the app, as a hook does, stood still for as long. It runs for as long as the
// process.
func tellStalls() {
	const nap, late = 25 * time.Millisecond, 100 * time.Millisecond
	for {
		from := time.Now()
		time.Sleep(nap)
		if stood := time.Since(from) - nap; stood > late {
			slog.Warn("stalled", "seconds", stood.Seconds())
		}
	}
}
