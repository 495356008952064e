// Command load is the client of the scenarios. It opens new connections at a fixed rate, one GET on
// each, and keeps others alive with GET and POST in turn. It retries nothing: whatever goes wrong
// is a failure, counted by kind and time. At the end (its standard input is closed, or SIGTERM) it
// finishes what is under way and prints one JSON object, of type report.Report, to stdout.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"lull/testdata/cluster/load/report"
)

type options struct {
	target    string
	rate      float64
	keepalive int
	pace      time.Duration
	renew     time.Duration
	timeout   time.Duration
	mptcp     bool
	stdin     bool
	from      netip.Prefix
}

func main() { os.Exit(generate()) }

// generate reads the flags, makes the load and prints the report; it returns the exit code.
func generate() int {
	var o options
	flag.StringVar(&o.target, "target", "", "`host:port` to ask")
	flag.Float64Var(&o.rate, "rate", 0, "new connections a second")
	flag.IntVar(&o.keepalive, "keepalive", 0, "clients that keep their connection; every other one sends POST")
	flag.DurationVar(&o.pace, "pace", 100*time.Millisecond, "pause of such a client between two requests")
	flag.DurationVar(&o.renew, "renew", 0, "have such a client close its connection after this long and open another; 0: never")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Second, "for one request, connecting included")
	flag.BoolVar(&o.mptcp, "mptcp", false, "connect with MPTCP")
	flag.TextVar(&o.from, "from", netip.Prefix{}, "connect from the addresses of this `prefix` in turn")
	flag.BoolVar(&o.stdin, "stdin", false, "end when standard input is closed")
	flag.Parse()
	if o.target == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "load: -target is missing, or arguments that it has not")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if o.stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	r := run(ctx, o)
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		return 1
	}
	return 0
}

// run makes the load until ctx is done and everything under way has ended.
func run(ctx context.Context, o options) report.Report {
	c := &counter{report: report.Report{Started: time.Now()}}
	var all sync.WaitGroup
	for i := range o.keepalive {
		all.Go(func() { keepAlive(ctx, o, c, i) })
	}
	if o.rate > 0 {
		all.Go(func() { newConnections(ctx, o, c, &all) })
	}
	if o.keepalive == 0 && o.rate <= 0 {
		<-ctx.Done()
	}
	all.Wait()
	c.report.Ended = time.Now()
	return c.report
}

// newConnections opens connections at the rate, each in a goroutine that lasts at most the timeout.
func newConnections(ctx context.Context, o options, c *counter, all *sync.WaitGroup) {
	tick := time.NewTicker(max(time.Millisecond, time.Duration(float64(time.Second)/o.rate)))
	defer tick.Stop()
	started, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A ticker drops ticks that come too late: what is due is counted from the start.
		for ; float64(sent) < time.Since(started).Seconds()*o.rate; sent++ {
			all.Go(func() {
				client := client{options: o, kind: "new"}
				defer client.close()
				c.add("new", client.ask("GET", true))
			})
		}
	}
}

// keepAlive sends requests on one connection and opens another when the server has announced its
// end, it broke, or it has been used for long enough.
func keepAlive(ctx context.Context, o options, c *counter, i int) {
	method, kind := "GET", "get"
	if i%2 == 1 {
		method, kind = "POST", "post"
	}
	client := client{options: o, kind: kind}
	defer client.close()
	// Clients don't march in step.
	wait := o.pace * time.Duration(i) / time.Duration(o.keepalive)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if o.renew > 0 && time.Since(client.since) > o.renew {
			client.close()
		}
		c.add(kind, client.ask(method, false))
		wait = o.pace
	}
}

// counter gathers outcomes.
type counter struct {
	mu     sync.Mutex
	report report.Report
}

func (c *counter) add(client string, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Add(client, o.at, o.took, o.kind, o.text)
}
