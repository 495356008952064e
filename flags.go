package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"lull/wait"
)

// hookFlags are those that decide how the hook waits, for it and for lull check.
type hookFlags struct {
	policyFlags `embed:""`
	podFlags    `embed:""`
	socketFlags `embed:""`
}

// policyFlags say what to wait for, and how long.
type policyFlags struct {
	Quiet         time.Duration     `default:"5s" env:"LULL_QUIET" help:"How long nothing may arrive."`
	Min           time.Duration     `default:"0s" env:"LULL_MIN" help:"Never exit sooner than this after the pod left rotation, for slow load balancers with little traffic."`
	Handover      wait.HandoverMode `default:"auto" enum:"auto,always,never" env:"LULL_HANDOVER" help:"While no other endpoint is ready: auto waits for a replacement on its way, always for any, never for none."`
	KeepaliveWait time.Duration     `default:"15s" env:"LULL_KEEPALIVE_WAIT" help:"Requests on a connection hold the exit for at most this long after the pod left rotation, or after a look first saw the connection if that was later, or with --drain after its first request since, which always counts; then only the app can end it. 0s: connections only."`
	Timeout       autoDuration      `default:"auto" env:"LULL_TIMEOUT" help:"The whole budget. auto: the grace period in force less the reserve."`
	Reserve       time.Duration     `default:"10s" env:"LULL_RESERVE" help:"Left for the app's own shutdown; at most half the grace period, and less where the least wait would not fit otherwise."`
	Drain         *drainer          `env:"LULL_DRAIN" placeholder:"SIGNAL|URL" help:"Once nobody is sent here any more, tell the app to let its clients go: a signal to the container's first process, which must handle it and serve on (HUP, USR1, USR2, WINCH; HUP ends a Go, Java or Ruby program that does not handle it), or a URL on loopback or the pod's own address to POST to (get:http://... for GET)."`
	MaxOpen       openLimit         `default:"any" env:"LULL_MAX_OPEN" help:"After the quiet window, hold on until at most so many connections are open, or the budget ends. any: don't."`
	OnTimeout     string            `default:"fail" enum:"fail,pass" env:"LULL_ON_TIMEOUT" help:"When the budget runs out: fail is exit code 3, which the kubelet records as FailedPreStopHook; pass is 0."`
	Ignore        []cidr            `env:"LULL_IGNORE" placeholder:"CIDR" help:"Clients whose connections don't count (scrapers, health checkers); repeatable."`
}

// openLimit is how many connections may be open, or nil for "any".
type openLimit struct{ limit *int }

func (l *openLimit) UnmarshalText(text []byte) error {
	if string(text) == "any" {
		l.limit = nil
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil {
		return fmt.Errorf("%q is neither any nor a number of connections", text)
	}
	limit := int(n)
	l.limit = &limit
	return nil
}

// podFlags say which pod and which of its Services.
type podFlags struct {
	Service    []string `default:"all" env:"LULL_SERVICE" help:"Only this Service's slices; repeatable. all: those of every Service that names the pod."`
	Endpoints  string   `default:"auto" enum:"auto,skip" env:"LULL_ENDPOINTS" help:"auto, or skip: no Kubernetes API at all."`
	Namespace  string   `short:"n" env:"LULL_NAMESPACE" placeholder:"NAME" help:"The pod's namespace, when run by hand."`
	Pod        string   `env:"LULL_POD" placeholder:"NAME" help:"The pod's name, when run by hand."`
	Kubeconfig string   `env:"LULL_KUBECONFIG" placeholder:"FILE" help:"Where the API is, when run by hand. None: the in-cluster configuration."`
	Context    string   `env:"LULL_CONTEXT" placeholder:"NAME" help:"The kubeconfig's context, when run by hand. None: its current one."`

	likeKubectl bool // off the cluster, ask the one that kubectl would
}

// named reports whether the user named a pod, or a cluster to find it in.
func (f podFlags) named() bool {
	return f.Namespace != "" || f.Pod != "" || f.Kubeconfig != "" || f.Context != ""
}

// elsewhere reports whether the user named a pod that this does not run in, as far as can be told.
func (f podFlags) elsewhere() bool {
	if !inPod() {
		return f.named()
	}
	host, err := os.Hostname()
	return f.Pod != "" && f.Pod != os.Getenv("POD_NAME") && (err != nil || f.Pod != host)
}

// socketFlags say what to watch and how.
type socketFlags struct {
	Port   []port `default:"auto" env:"LULL_PORT" help:"Port to watch: a number, or an EndpointSlice port name; repeatable. auto: the TCP ports that the pod's slices name; in no Service those that its containers declare; else every listening port not bound to loopback alone."`
	Source string `default:"auto" enum:"auto,netlink,proc" env:"LULL_SOURCE" help:"How to watch the sockets. auto: netlink where kernel and seccomp allow it, else /proc."`
}

// storyFlags say where the story goes and how it looks.
type storyFlags struct {
	Log      string    `default:"auto" env:"LULL_LOG" help:"Where the story goes besides stderr: a file, none, or auto: the container's log (the stderr of its first process) where it can be opened."`
	Format   string    `default:"auto" enum:"auto,text,json" env:"LULL_FORMAT" help:"text for a person, json one object a line; auto: text on a terminal, else json."`
	Events   string    `default:"auto" enum:"auto,off" env:"LULL_EVENTS" help:"Events on the pod, where they may be created: one when the hook has held for a second, and one at its end. off: none."`
	Disabled offSwitch `env:"LULL_DISABLED" help:"Exit at once, and say so. The variable may hold a reason: anything but 0, false, no and off."`
	Debug    bool      `env:"LULL_DEBUG" help:"Tell of each request to the API server and each look at the sockets, too."`
}

// offSwitch is a flag that a reason sets, too. Who switches lull off in a hurry must not be told
// that "on" is the wrong word.
type offSwitch bool

// IsBool is called by kong: the flag needs no value.
func (*offSwitch) IsBool() bool { return true }

// Decode is called by kong.
func (o *offSwitch) Decode(k *kong.DecodeContext) error {
	*o = true
	if k.Scan.Peek().Type == kong.FlagValueToken {
		*o = offSwitch(!isNo(k.Scan.Pop().String()))
	}
	return nil
}

// isNo reports whether a value is a word for no.
func isNo(value string) bool {
	return slices.Contains([]string{"", "0", "false", "no", "off"}, strings.ToLower(value))
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

// asked is what the user named; nothing if that was the word for all.
func (f podFlags) asked() []string {
	if slices.Contains(f.Service, "all") {
		return nil
	}
	return f.Service
}

// asked are the ports that the user named; nothing if one of them was auto.
func (f socketFlags) asked() []wait.Port {
	var ports []wait.Port
	for _, p := range f.Port {
		if p.Name == "auto" {
			return nil
		}
		ports = append(ports, wait.Port(p))
	}
	return ports
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
type port wait.Port

func (p *port) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 16)
	switch {
	case err == nil && n > 0:
		p.Number = uint16(n)
	case err == nil || !isPortName(string(text)):
		return fmt.Errorf("%q is neither a port number nor a port's name", text)
	default:
		p.Name = string(text)
	}
	return nil
}

// isPortName reports whether a slice can have a port of this name: a DNS label (k8s.io/kubernetes,
// pkg/apis/discovery/validation). Digits alone are meant as a number.
func isPortName(text string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && strings.Trim(text, "0123456789") != "" &&
		len(text) <= 63 && !strings.HasPrefix(text, "-") && !strings.HasSuffix(text, "-")
}

func newParser(c *cli) *kong.Kong {
	return kong.Must(c, kong.Name("lull"), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Description("Hold SIGTERM back until the pod is out of rotation and nothing arrives: a preStop hook that looks instead of sleeping."),
		kong.Vars{"version": "lull " + versionText()})
}

// parse parses the arguments and the environment.
func parse(c *cli, args []string) (*kong.Context, error) {
	k, err := newParser(c).Parse(args)
	if err == nil && k.Command() == "wait" {
		if err = c.Wait.Drain.checkOwn(); err != nil {
			err = fmt.Errorf("--drain: %w", err)
		}
	}
	return k, err
}

// AfterApply is called by kong. A flag without a value would pass for one that was not given: it is
// a variable that was not set where the command line was written.
func (c *cli) AfterApply(k *kong.Context) error {
	for _, p := range k.Path {
		if p.Flag != nil && p.Flag.IsSlice() && p.Flag.Target.Len() == 0 {
			return fmt.Errorf("--%s: needs a value", p.Flag.Name)
		}
	}
	return nil
}
