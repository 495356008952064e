// Lull is a preStop hook for Kubernetes: it holds SIGTERM back until the pod is out of rotation and
// nothing has arrived for a while.
//
// The packages know one thing each: kube what the control plane says of the pod, procnet what the
// kernel says of its sockets, wait what follows from the two. This one has the flags, joins the
// three, and tells the story.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"lull/wait"
)

// The exit codes. A hook ended by a signal exits with 128 and its number.
const (
	exitQuiet  = 0 // quiet, or nothing to wait for
	exitError  = 1 // anything else
	exitUsage  = 2 // wrong usage
	exitBudget = 3 // the budget ran out first: the kubelet records FailedPreStopHook
)

// cli is the command line. Its help texts are the README's flag table.
type cli struct {
	Wait    waitCmd    `cmd:"" default:"withargs" help:"The hook: hold SIGTERM back until the pod is out of rotation and nothing arrives. The default command."`
	Check   checkCmd   `cmd:"" help:"Tell what the hook would see and do, and what it lacks."`
	Watch   watchCmd   `cmd:"" help:"Print a line for every arrival and change on the watched ports, until interrupted."`
	Install installCmd `cmd:"" help:"Copy this binary into a directory, for an init container: distroless images have no cp."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// withCommand is what no flag's help tells.
const withCommand = "lull [flags] [-- COMMAND...] is the hook, which becomes COMMAND at its end: LULL_REASON, LULL_HELD and LULL_LEFT " +
	"tell it why that was, the seconds held, and those left of the budget."

// Help is called by kong.
func (cli) Help() string { return withCommand }

// Help is called by kong.
func (waitCmd) Help() string { return withCommand }

func main() {
	// A hook's output may have nobody to read it: that must not end it.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(hookStart(), os.Args[1:]))
}

// run is the whole command: it returns the exit code.
func run(start time.Time, args []string) int {
	ctx, stop := signalContext()
	defer stop()
	unsetFlags(func(name, value string) bool { return value == "" || isServiceLink(name, value) })
	flags, command := splitCommand(args)
	var c cli
	k, err := parse(&c, flags)
	if err == nil {
		err = checkCommand(flags, command)
	}
	switch {
	case err == nil:
		c.Wait.command, c.Check.command = command, command
		k.BindTo(ctx, (*context.Context)(nil))
		k.Bind(start)
		err = k.Run()
	case hasTerminal() || !isHook(args):
		tellWrong(flags, err)
		return exitUsage
	default:
		err = runHalfWrong(ctx, start, flags, command)
	}
	var code codeError
	switch {
	case errors.As(err, &code):
		return int(code)
	case err != nil:
		fmt.Fprintf(os.Stderr, "lull: %v\n", err)
		return exitError
	}
	return exitQuiet
}

// hold holds SIGTERM back: it opens the sockets early, since what arrives before cannot be seen,
// then asks the control plane, and goes by the policy until it ends.
func (w *waitCmd) hold(ctx context.Context, start time.Time, s *story) ending {
	if w.Disabled {
		s.Log.Warn("disabled by "+disabledBy()+": letting SIGTERM through at once", "event", "disabled")
		return ending{code: exitQuiet, reason: "disabled"}
	}
	policy := w.policy()
	// Whatever hangs from here on, the kernel ends it. Until more is known the budget is the
	// longest.
	watchdog := newWatchdog(s.Log)
	defer watchdog.stop()
	watchdog.endAt(start.Add(policy.Budget(wait.View{}, wait.Sight{})))

	sockets, err := w.socketFlags.open(s.Log)
	if err != nil {
		s.Log.Error(err.Error(), "event", "unsupported")
		return ending{code: exitError, reason: "unsupported"}
	}
	control := w.podFlags.open(ctx, s.Log)

	events := w.startEvents(control, s.Log, start)
	policy.Start, policy.Log = start, slog.New(slog.NewMultiHandler(s.Log.Handler(), events))
	policy.Progress = func(p wait.Progress) { s.Progress(p); events.progress(p) }
	policy.Deadline = watchdog.endAt
	o := policy.Run(ctx, control.Cluster, sockets.Sockets)
	events.end(o)

	closeWithin(farewell, control.Close, sockets.Close)
	return ending{w.exitCode(o, context.Cause(ctx)), o.Reason.String(), o.Held, o.Budget - o.Held}
}

// codeError is an exit code whose reason has been told already.
type codeError int

func (c codeError) Error() string { return fmt.Sprintf("exit code %d", int(c)) }
