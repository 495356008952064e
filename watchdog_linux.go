package main

import (
	"log/slog"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchdog has the kernel end the process when its budget has run out and it has not ended itself:
// it is stopped, or has so little memory that its own code is read from the disk again and again.
type watchdog struct {
	timer int32 // of the kernel
	armed bool  // there is one
}

// grantedEnd is how long the process may take to end by itself when its budget has run out.
const grantedEnd = time.Second

// sigevent is struct sigevent in include/uapi/asm-generic/siginfo.h: 64 bytes.
type sigevent struct {
	value  uintptr
	signo  int32
	notify int32 // 0 is SIGEV_SIGNAL
	_      [48]byte
}

// newWatchdog makes one. Where the kernel or seccomp refuses it, it does nothing.
func newWatchdog(log *slog.Logger) *watchdog {
	w := &watchdog{}
	event := sigevent{signo: int32(unix.SIGKILL)}
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&w.timer)))
	if w.armed = errno == 0; !w.armed {
		log.Debug("no timer to end a hook that hangs: "+errno.Error(), "event", "missing")
	}
	return w
}

// endAt ends the process soon after its budget has run out, or soon if that was in the past.
func (w *watchdog) endAt(deadline time.Time) {
	if !w.armed {
		return
	}
	left := max(0, time.Until(deadline)) + grantedEnd
	if left < 0 {
		return // longer than a duration can be
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
	_, _, _ = unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(w.timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// stop lets the process live.
func (w *watchdog) stop() {
	if w.armed {
		_, _, _ = unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(w.timer), 0, 0)
		w.armed = false
	}
}
