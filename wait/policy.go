package wait

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

const (
	// DefaultGrace is the grace period of a pod that doesn't name one
	// (k8s.io/api/core/v1, PodSpec.TerminationGracePeriodSeconds).
	DefaultGrace = 30 * time.Second
	// patience is how long the control plane may be silent before the hook
	// goes on without it.
	patience = 10 * time.Second
	// blindSleep is how long a hook sleeps that can't see the sockets: the
	// `sleep 15` that everybody had before.
	blindSleep = 15 * time.Second
)

// HandoverMode says for whom a pod keeps serving while no other endpoint of its
// Service is ready.
type HandoverMode string

// The modes.
const (
	HandoverAuto   HandoverMode = "auto"   // for a replacement on its way
	HandoverAlways HandoverMode = "always" // for any
	HandoverNever  HandoverMode = "never"
)

// Policy decides when a hook may end. It holds SIGTERM back
//
//   - until the pod is out of rotation: no EndpointSlice has it ready, those
//     apart that will have it ready for ever;
//   - then, while no other endpoint of a Service is ready, until one is, as
//     Handover says;
//   - then until nothing has arrived on the watched ports for Quiet: no new
//     connection, no request on a connection that still counts, nothing in an
//     accept queue. The window begins when the last of these stages ends and
//     starts anew with each arrival. Readiness probes and what Ignore names
//     are no arrivals;
//   - and at least for Min since the pod left rotation;
//   - but never past the budget: Timeout, or the grace period less Reserve.
//
// A request counts only while its connection is younger than KeepaliveWait,
// reckoned from when the pod left rotation or, if it is younger than that, from
// when it was opened. After that the connection is pinned: only the app can end
// it, once it has its SIGTERM.
//
// Losing sight never makes it end sooner. Without the control plane it goes by
// the sockets, and in a pod takes at least twice Quiet in all. Where the control
// plane falls silent it waits for patience first. Without the sockets it sleeps
// for blindSleep, or Quiet if that is longer.
//
// A pod that is not being deleted and still in rotation stays there whatever
// the hook does, so the hook ends once that has been so for half a second.
type Policy struct {
	Quiet, Min, KeepaliveWait time.Duration
	// Timeout is the budget at most. Zero: only the grace period bounds it.
	Timeout time.Duration
	// Reserve is left for the app's own shutdown, at most half the grace period.
	Reserve  time.Duration
	Handover HandoverMode
	// Ports are watched as long as the cluster names none. Empty: every
	// listening port.
	Ports []uint16
	// Ignore names the clients that don't count.
	Ignore []netip.Prefix
	// NodeAddrs are addresses of the node besides those that the cluster knows.
	NodeAddrs []netip.Addr
	// Start is when the hook began, from which the budget counts. Zero: now.
	Start time.Time
	// InPod: there is a rotation to leave, even where it can't be seen.
	InPod bool
	// Log gets the story: one event a line, each a sentence by itself.
	Log *slog.Logger
	// Progress, if not nil, is told what the hook is waiting for whenever that
	// changes. It must not block.
	Progress func(Progress)
}

// Progress is what a hook waits for.
type Progress struct {
	Stage Stage
	// Due is when the stage could end, zero if that depends on others.
	Due time.Time
	// Deadline is when the budget ends.
	Deadline time.Time
}

// Run waits as the policy says and tells how it went. A nil cluster means that
// there is none to ask, nil sockets that they can't be seen. It returns at the
// end of the budget whatever the two do: a call of theirs that hangs is left
// behind.
func (p Policy) Run(ctx context.Context, cluster Cluster, sockets Sockets) Outcome {
	r := newRun(p, cluster, sockets)
	for {
		r.observe()
		now := time.Now()
		due, open := r.due()
		switch {
		case ctx.Err() != nil:
			return r.end(Interrupted)
		case !now.Before(r.deadline()):
			return r.end(Budget)
		case r.restarting(now):
			return r.end(Restart)
		case r.lookDue(now), open && !now.Before(due) && r.lookedBefore(due):
			r.look(ctx)
		case open && !now.Before(due):
			return r.end(Quiet)
		default:
			r.sleep(ctx, now)
		}
	}
}
