package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// procTick is what /proc counts in, on every architecture that lull is built for: USER_HZ in
// include/asm-generic/param.h.
const procTick = time.Second / 100

// oldestStart is how long ago a hook has started at most. A process that is older is not a hook's
// own: lull took the place of a program that ran before.
const oldestStart = 30 * time.Second

// hookStart is when the hook started. The kubelet counts the grace period from before it starts the
// hook, so a process that was starved or stopped before its first instruction has less time left.
// At a terminal that is now: there a shell may have become lull.
func hookStart() time.Time {
	now := time.Now()
	if hasTerminal() {
		return now
	}
	return now.Add(-processAge("/proc"))
}

// processAge is how long ago this process started, and 0 where that cannot be told. Both times
// count from the boot of the machine as the process's time namespace has it (fs/proc/array.c,
// timens_add_boottime_ns).
func processAge(root string) time.Duration {
	self, err := readProcess(root, os.Getpid())
	var now unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return plausibleAge(self.start, time.Duration(now.Nano()))
}

// plausibleAge is the time from a start, in ticks since boot, to now, and 0 where it cannot be a
// hook's. A tick that has begun is not counted, so that nobody is taken for older than he is. No
// process starts at 0: what says so does not know.
func plausibleAge(ticks uint64, now time.Duration) time.Duration {
	if ticks == 0 || ticks >= uint64(now/procTick) {
		return 0
	}
	age := now - time.Duration(ticks+1)*procTick
	if age > oldestStart {
		return 0
	}
	return age
}
