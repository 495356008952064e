package wait

import "time"

// After the quiet window a hook may go on until at most MaxOpen connections are open: WebSockets,
// streams and downloads, which SIGTERM would cut. That they are quiet is known by then, so the end
// of the budget is no failure.

// peekEvery is how often the sockets are asked whether a connection has ended. Only if one has are
// they looked at.
const peekEvery = 250 * time.Millisecond

// tooManyOpen reports whether more connections are open than the hook may leave.
func (r *run) tooManyOpen() bool {
	return r.policy.MaxOpen != nil && r.sockets != nil && r.window.open > *r.policy.MaxOpen
}

// peek asks the sockets whether a connection has ended. Where all must end, what comes on them in
// the meantime holds nothing by itself: a last message would hold for a window, although nobody is
// there any more.
func (r *run) peek() bool {
	r.peeked = time.Now()
	if *r.policy.MaxOpen == 0 && r.window.settled.IsZero() {
		r.window.settled = r.peeked
	}
	return r.sockets.Ended()
}

// reached names what was true before only open connections were left to wait for: quiet, or where
// nobody can take over, that the window has passed.
func (r *run) reached() string {
	if len(r.rotation.alone) > 0 {
		return "out of rotation for " + secs(time.Since(r.rotation.left))
	}
	return "quiet"
}

// closing reports whether only open connections are left to wait for.
func (r *run) closing(now time.Time) bool {
	due, open := r.due()
	return open && !now.Before(due) && r.tooManyOpen()
}

// stage is what the hook waits for.
func (r *run) stage(now time.Time) Stage {
	if r.closing(now) {
		return Closing
	}
	return r.rotation.stage
}
