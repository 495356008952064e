// Lull is a preStop hook for Kubernetes: it holds SIGTERM back until the pod is
// out of rotation and nothing has arrived for a while.
//
// The packages know one thing each: kube what the control plane says of the
// pod, procnet what the kernel says of its sockets, wait what follows from the
// two. This one has the flags, joins the three, and tells the story.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"lull/procnet"
	"lull/wait"
)

// The exit codes. A hook ended by a signal exits with 128 and its number.
const (
	exitQuiet  = 0 // quiet, or nothing to wait for
	exitError  = 1 // anything else
	exitUsage  = 2 // wrong usage
	exitBudget = 3 // the budget ran out first: the kubelet records FailedPreStopHook
)

// version is stamped by the release build.
var version = ""

// cli is the command line. Its help texts are the README's flag table.
type cli struct {
	Wait    waitCmd    `cmd:"" default:"withargs" help:"The hook: hold SIGTERM back until the pod is out of rotation and nothing arrives. The default command."`
	Check   checkCmd   `cmd:"" help:"Tell what the hook would see and do, and what it lacks."`
	Watch   watchCmd   `cmd:"" help:"Print a line for every arrival and change on the watched ports, until interrupted."`
	Install installCmd `cmd:"" help:"Copy this binary into a directory, for an init container: distroless images have no cp."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

type waitCmd struct {
	policyFlags `embed:""`
	podFlags    `embed:""`
	socketFlags `embed:""`
	storyFlags  `embed:""`
}

// policyFlags say what to wait for, and how long.
type policyFlags struct {
	Quiet         time.Duration     `default:"5s" env:"LULL_QUIET" help:"How long nothing may arrive."`
	Min           time.Duration     `default:"0s" env:"LULL_MIN" help:"Never exit sooner than this after the pod left rotation, for slow load balancers with little traffic."`
	Handover      wait.HandoverMode `default:"auto" enum:"auto,always,never" env:"LULL_HANDOVER" help:"While no other endpoint is ready: auto waits for a replacement on its way, always for any, never for none."`
	KeepaliveWait time.Duration     `default:"15s" env:"LULL_KEEPALIVE_WAIT" help:"Requests on a connection hold the exit for at most this long after the pod left rotation, or after the connection opened if that was later; then only the app can end it. 0s: connections only."`
	Timeout       autoDuration      `default:"auto" env:"LULL_TIMEOUT" help:"The whole budget. auto: the grace period in force less the reserve."`
	Reserve       time.Duration     `default:"10s" env:"LULL_RESERVE" help:"Left for the app's own shutdown; at most half the grace period."`
	Ignore        []cidr            `env:"LULL_IGNORE" placeholder:"CIDR" help:"Clients whose connections don't count (scrapers, health checkers); repeatable."`
}

// podFlags say which pod and which of its Services.
type podFlags struct {
	Service    []string `default:"all" env:"LULL_SERVICE" help:"Only this Service's slices; repeatable. all: those of every Service that names the pod."`
	Endpoints  string   `default:"auto" enum:"auto,skip" env:"LULL_ENDPOINTS" help:"auto, or skip: no Kubernetes API at all."`
	Namespace  string   `env:"LULL_NAMESPACE" placeholder:"NAME" help:"The pod's namespace, when run by hand."`
	Pod        string   `env:"LULL_POD" placeholder:"NAME" help:"The pod's name, when run by hand."`
	Kubeconfig string   `env:"LULL_KUBECONFIG" placeholder:"FILE" help:"Where the API is, when run by hand. None: the in-cluster configuration."`
}

// socketFlags say what to watch and how.
type socketFlags struct {
	Port   []port `default:"auto" env:"LULL_PORT" help:"Port to watch: a number, or an EndpointSlice port name; repeatable. auto: the TCP ports that the pod's slices name, else every listening port not bound to loopback alone."`
	Source string `default:"auto" enum:"auto,netlink,proc" env:"LULL_SOURCE" help:"How to watch the sockets. auto: netlink where kernel and seccomp allow it, else /proc."`
}

// storyFlags say where the story goes and how it looks.
type storyFlags struct {
	Log    string `default:"auto" env:"LULL_LOG" help:"Where the story goes besides stderr: a file, none, or auto: the container's log (PID 1's stderr) where it can be opened."`
	Format string `default:"auto" enum:"auto,text,json" env:"LULL_FORMAT" help:"text for a person, json one object a line; auto: text on a terminal, else json."`
}

func main() {
	// A hook's output may have nobody to read it: that must not end it.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(time.Now(), os.Args[1:]))
}

// run is the whole command: it returns the exit code.
func run(start time.Time, args []string) int {
	var c cli
	parser := kong.Must(&c, kong.Name("lull"), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Description("Hold SIGTERM back until the pod is out of rotation and nothing arrives: a preStop hook that looks instead of sleeping."),
		kong.Vars{"version": "lull " + versionText()})
	ctx, stop := signalContext()
	defer stop()
	// A Service named lull puts LULL_PORT=tcp://... into every container.
	unsetFlags(func(value string) bool { return value == "" || strings.Contains(value, "://") })
	k, wrong := parser.Parse(args)
	if wrong != nil {
		usage := "wrong usage: " + wrong.Error()
		if hasTerminal() || !isHook(args) {
			fmt.Fprintf(os.Stderr, "lull: %s\nlull: hint: see lull --help\n", usage)
			return exitUsage
		}
		// A typo must not drop traffic.
		parseDefaults(parser)
		s := openStory(c.Wait.storyFlags)
		s.Log.Error(usage+": waiting with the defaults; see lull --help", "event", "usage")
		code := c.Wait.hold(ctx, start, s)
		s.Close()
		if code < 128 {
			code = exitUsage
		}
		return code
	}
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(start)
	err := k.Run()
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

// codeError is an exit code whose reason has been told already.
type codeError int

func (c codeError) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// isHook says whether the arguments, wrong as they are, mean the hook.
func isHook(args []string) bool {
	return len(args) == 0 || args[0] != "check" && args[0] != "watch" && args[0] != "install"
}

// parseDefaults parses an empty command line, without the environment's flags
// too if one of them is what was wrong.
func parseDefaults(parser *kong.Kong) {
	if _, err := parser.Parse(nil); err == nil {
		return
	}
	unsetFlags(func(string) bool { return true })
	_, err := parser.Parse(nil)
	parser.FatalIfErrorf(err)
}

// unsetFlags takes flags out of the environment by their values.
func unsetFlags(which func(value string) bool) {
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "LULL_") && which(value) {
			os.Unsetenv(name)
		}
	}
}

// signalContext is done at SIGINT or SIGTERM, its cause the exit code for it.
func signalContext() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			cancel(codeError(128 + int(s)))
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}

// Validate is called by kong.
func (p *policyFlags) Validate() error {
	switch {
	case p.Quiet <= 0:
		return fmt.Errorf("--quiet=%s: must be more than 0s", p.Quiet)
	case p.Min < 0, p.KeepaliveWait < 0, p.Reserve < 0:
		return errors.New("--min, --keepalive-wait and --reserve must not be negative")
	}
	return nil
}

func (w *waitCmd) Run(ctx context.Context, start time.Time) error {
	s := openStory(w.storyFlags)
	defer s.Close()
	if code := w.hold(ctx, start, s); code != exitQuiet {
		return codeError(code)
	}
	return nil
}

// hold is the hook: the sockets from the first moment, who am I, then the
// policy's stages.
func (w *waitCmd) hold(ctx context.Context, start time.Time, s *story) int {
	source, err := w.socketFlags.open(s.Log)
	if err != nil {
		s.Log.Error(err.Error(), "event", "unsupported")
		return exitError
	}
	policy := w.policy()
	policy.Start, policy.Ports = start, numbers(w.Port)
	policy.Log, policy.Progress = s.Log, s.Progress
	ctx, stop := context.WithCancelCause(ctx)
	cluster, ended := w.podFlags.watch(ctx, w.Port, s.Log)
	outcome := policy.Run(ctx, cluster, source)
	code := outcomeCode(outcome, context.Cause(ctx))
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		stop(nil)
		ended()
		if source != nil {
			source.(sockets).Close()
		}
	}()
	// Nothing that is left to do is worth a late exit.
	select {
	case <-closed:
	case <-time.After(farewell):
	}
	return code
}

func (p *policyFlags) policy() wait.Policy {
	return wait.Policy{
		Quiet: p.Quiet, Min: p.Min, KeepaliveWait: p.KeepaliveWait, Timeout: time.Duration(p.Timeout), Reserve: p.Reserve,
		Handover: p.Handover, Ignore: prefixes(p.Ignore), NodeAddrs: procnet.Gateways("/proc"), InPod: inPod(),
	}
}

func outcomeCode(o wait.Outcome, cause error) int {
	var signalled codeError
	switch {
	case o.Reason == wait.Budget:
		return exitBudget
	case o.Reason == wait.Interrupted && errors.As(cause, &signalled):
		return int(signalled)
	case o.Reason == wait.Interrupted:
		return exitError
	}
	return exitQuiet
}

// inPod: the kubelet names the API server to every container that it starts
// (pkg/kubelet/kubelet_pods.go, getServiceEnvVarMap).
func inPod() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

func versionText() string {
	if info, ok := debug.ReadBuildInfo(); version == "" && ok && info.Main.Version != "" {
		return info.Main.Version
	}
	if version == "" {
		return "(unknown version)"
	}
	return version
}

// autoDuration is a duration, or zero for "auto".
type autoDuration time.Duration

func (d *autoDuration) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is neither auto nor a duration like 20s", text)
	}
	*d = autoDuration(v)
	return nil
}

// cidr is a range of addresses, or one address.
type cidr netip.Prefix

func (c *cidr) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil {
		*c = cidr(netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q is neither an address nor a CIDR like 10.0.0.0/8", text)
	}
	*c = cidr(p)
	return nil
}

func prefixes(cs []cidr) []netip.Prefix {
	var ps []netip.Prefix
	for _, c := range cs {
		ps = append(ps, netip.Prefix(c).Masked())
	}
	return ps
}

// port is a port to watch: a number, a name, or auto.
type port struct {
	number uint16
	name   string
}

func (p *port) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 16)
	switch {
	case err == nil && n > 0:
		p.number = uint16(n)
	case err == nil || strings.Trim(string(text), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(string(text), "0123456789") == "":
		return fmt.Errorf("%q is neither a port number nor a port's name", text)
	default:
		p.name = string(text)
	}
	return nil
}
