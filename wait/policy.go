package wait

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

const (
	// DefaultGrace is the grace period of a pod that doesn't name one (k8s.io/api/core/v1,
	// PodSpec.TerminationGracePeriodSeconds).
	DefaultGrace = 30 * time.Second
	// patience is how long the control plane may be silent before the hook goes on without it.
	patience = 10 * time.Second
)

// HandoverMode says for whom a pod keeps serving while no other endpoint of its Service is ready.
type HandoverMode string

// What --handover takes.
const (
	HandoverAuto   HandoverMode = "auto"   // for a replacement on its way
	HandoverAlways HandoverMode = "always" // for any endpoint, even if none is in sight
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
//     accept queue that drains. The window begins when the last of these stages
//     ends, or when Drain has asked the app, and starts anew with each arrival.
//     Readiness probes and what Ignore names are no arrivals;
//   - and at least for Min since the pod left rotation;
//   - then, if asked, until at most MaxOpen connections are open;
//   - but never past the budget: Timeout, or the grace period less Reserve.
//
// A request counts only while its connection is younger than KeepaliveWait, reckoned from when the
// pod left rotation or, if that was later, from when a look first saw the connection. After that
// the connection is pinned: only the app can end it, once it has its SIGTERM. Once the app was
// asked to let its clients go, the first request on each connection counts in any case, since only
// its answer can tell the client so, and KeepaliveWait is reckoned from then.
//
// Losing sight never makes it end sooner. Without the EndpointSlices it goes by the sockets, and in
// a pod takes at least SocketsAlone. Where the control plane falls silent it waits for patience
// first. Slices that nobody promises to keep up to date are not waited for, but it takes as long as
// without any. Without the sockets it sleeps for SleepInstead.
//
// Where waiting is useless it does not wait. A pod that is not being deleted and still in rotation
// stays there whatever the hook does, so the hook ends once that has been so for half a second. If
// nobody can take over before the pod has ended, its traffic goes on rightly, and the hook ends
// Quiet after the removal.
type Policy struct {
	Quiet, Min, KeepaliveWait time.Duration
	// Timeout is the budget at most. Zero: only the grace period bounds it.
	Timeout time.Duration
	// Reserve is left for the app's own shutdown: at most half the grace period, and less where the
	// least that the hook takes would not fit.
	Reserve  time.Duration
	Handover HandoverMode
	// Drain, if not nil, asks the app to let its clients go. It is called once, when nobody is sent
	// here any more and the window begins, never for a restart. It calls made with the client's end
	// of a connection that it makes to ask, which is nobody's arrival then, and returns soon after
	// its context is done.
	Drain func(ctx context.Context, made func(netip.AddrPort)) Drained
	// MaxOpen, if not nil, is how many connections may be open at the end. Those of probes and of
	// clients that Ignore names don't count.
	MaxOpen *int
	// Services are those that the user asked about. Empty: all.
	Services []string
	// Ports are those that the user asked for, by number or by the name that the slices give them.
	// Empty: all that the slices name, and every listening port where they name none.
	Ports []Port
	// Ignore names the clients that don't count.
	Ignore []netip.Prefix
	// NodeAddrs are addresses of the node besides those that the cluster knows.
	NodeAddrs []netip.Addr
	// Start is when the hook began, from which the budget counts: before Run, if its process had to
	// wait to run at all. Zero: now.
	Start time.Time
	// InPod: there is a rotation to leave, even where it cannot be seen.
	InPod bool
	// Log gets the story: one event a line, each a sentence by itself; at debug level each look,
	// too.
	Log *slog.Logger
	// Progress, if not nil, is told what the hook is waiting for whenever that changes. It must not
	// block.
	Progress func(Progress)
	// Deadline, if not nil, is told when the budget ends, at first and when that changes.
	Deadline func(time.Time)
}

// Drained is what came of asking the app to let its clients go.
type Drained struct {
	// Asked says what was asked of whom: "SIGHUP of process 1 (nginx)".
	Asked string
	// Err is why it failed, with what to change.
	Err error
}

// Progress is what a hook waits for.
type Progress struct {
	Stage Stage
	// Open is how many connections are open, in the stage that waits for their end.
	Open int
	// Due is when the stage could end, zero if that depends on others.
	Due time.Time
	// Deadline is when the budget ends.
	Deadline time.Time
}

// SocketsAlone is how long a hook takes at least that goes by the sockets alone, because the
// EndpointSlices cannot be read.
func (p Policy) SocketsAlone() time.Duration { return 2 * p.Quiet }

// SleepInstead is how long a hook sleeps that cannot see the sockets: 15 s, the `sleep 15` that
// everybody had before, or Quiet if that is longer.
func (p Policy) SleepInstead() time.Duration { return max(15*time.Second, p.Quiet) }

// Run waits as the policy says and tells how it went. A nil cluster means that there is none to
// ask, nil sockets that they cannot be seen. It returns at the end of the budget whatever the two
// do: a look at the sockets that hangs is left behind.
func (p Policy) Run(ctx context.Context, cluster Cluster, sockets Sockets) Outcome {
	r := newRun(p, cluster, sockets)
	ctx, stop := context.WithCancel(ctx)
	defer stop() // what is still under way is nobody's any more
	for {
		r.observe()
		r.checkDrain()
		if ctx.Err() != nil {
			return r.end(Interrupted)
		}
		switch s := r.next(time.Now()); s.do {
		case end:
			return r.end(s.why)
		case look:
			r.look(ctx)
		case peek:
			if r.peek() {
				r.look(ctx)
			}
		case drain:
			r.startDrain(ctx)
		default:
			r.sleep(ctx, s.at)
		}
	}
}
