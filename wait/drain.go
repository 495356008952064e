package wait

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"
)

// draining is a request to the app to let its clients go.
type draining struct {
	done chan Drained // nil before it was asked
	at   time.Time    // when it was asked
	open int          // connections that were open then

	answered bool
	drained  time.Time // when it had been asked; zero if it has not
}

// maxAnswer is how long the app's answer holds the exit at most, since the window begins anew with
// it.
const maxAnswer = 3 * time.Second

// answers is when the app has answered at the latest; zero if nothing is awaited.
func (d draining) answers() time.Time {
	if d.answered {
		return time.Time{}
	}
	return added(d.at, maxAnswer)
}

// mayDrain reports whether the app is to be asked now: nobody is sent here any more, and a look has
// shown who is connected.
func (r *run) mayDrain() bool {
	return r.policy.Drain != nil && r.window.draining.done == nil && r.rotation.stage == Lull &&
		(r.sockets == nil || !r.looked.Before(r.rotation.left))
}

// startDrain asks the app. The wait goes on meanwhile.
func (r *run) startDrain(ctx context.Context) {
	r.window.draining = draining{done: make(chan Drained, 1), at: time.Now(), open: r.window.open}
	made := func(addr netip.AddrPort) { r.window.own.Store(&own{addr: addr, at: time.Now()}) }
	go func(done chan<- Drained) { done <- r.policy.Drain(ctx, made) }(r.window.draining.done)
}

// checkDrain takes in what came of it, if that is known. It is not called during a look, which
// reads the window.
func (r *run) checkDrain() {
	select {
	case d := <-r.window.draining.done: // nil before the app was asked
		r.endDrain(d)
	default:
	}
}

// endDrain takes in what came of it. The window begins anew: from now on those who still think that
// the pod is in rotation come with a new connection.
func (r *run) endDrain(d Drained) {
	r.window.draining.answered = true
	if d.Err != nil {
		r.policy.Log.Warn("cannot ask the app to let its clients go: "+d.Err.Error()+": going on without", "event", "drain-failed", "asked", d.Asked)
		return
	}
	r.window.draining.drained = time.Now()
	r.policy.Log.Info("asked the app to let its clients go: "+d.Asked, "event", "drain", "asked", d.Asked, "at_s", r.seconds(r.window.draining.at), "open", r.window.draining.open)
}

// own is a connection that lull itself has made.
type own struct {
	addr netip.AddrPort
	at   time.Time // when it was made
	seen atomic.Bool
}

// claim takes an arrival for that connection, if it can be that. A source that only counts
// connections does not know the address: then the first of about that time is taken, and no other.
func (o *own) claim(a Arrival) bool {
	if o == nil || a.Count > 1 {
		return false
	}
	if a.Peer.IsValid() {
		if a.Peer != o.addr {
			return false
		}
		o.seen.Store(true)
		return true
	}
	since := a.came().Sub(o.at)
	return a.Kind == Connection && since >= -countedStep && since <= 2*countedStep && o.seen.CompareAndSwap(false, true)
}

// isConn reports whether an open connection is that one.
func (o *own) isConn(c Conn) bool { return o != nil && c.Peer == o.addr }
