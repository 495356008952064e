package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lull/wait"
)

// drainTimeout is how long the app may take to answer.
const drainTimeout = 2 * time.Second

// drainer is what --drain says: a signal to the container's first process, or a URL.
type drainer struct {
	signal unix.Signal
	method string
	url    *url.URL // nil: the signal
}

// UnmarshalText is called by kong.
func (d *drainer) UnmarshalText(text []byte) error {
	word := string(text)
	rest, get := strings.CutPrefix(word, "get:")
	if get || strings.Contains(word, "://") {
		d.method = http.MethodPost
		if get {
			d.method = http.MethodGet
		}
		return d.parseURL(rest)
	}
	name := strings.ToUpper(word)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	d.signal = unix.SignalNum(name)
	switch d.signal {
	case unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH:
		return nil
	case 0:
		return fmt.Errorf("%q is neither a signal like HUP nor a URL like http://127.0.0.1:8080/drain", word)
	case unix.SIGKILL, unix.SIGSTOP:
		return fmt.Errorf("%s cannot be handled by the app, so it lets no client go", name)
	case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
		return fmt.Errorf("%s ends the app, which is what lull holds back: choose a signal after which it goes on to serve", name)
	}
	// The others report a fault, a timer, or what a terminal or a child does.
	return fmt.Errorf("%s is no signal that an app is asked by: choose one of HUP, USR1, USR2 and WINCH", name)
}

// parseURL takes a URL that may be the pod's own, so that neither a request nor what it answers
// leaves the pod.
func (d *drainer) parseURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http":
		return fmt.Errorf("%s: only http is spoken here", text)
	case u.User != nil:
		return fmt.Errorf("%s: no credentials can be given", u.Redacted())
	case !isAddress(u.Hostname()):
		return fmt.Errorf("%s: the host is neither localhost nor an IP address", text)
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return fmt.Errorf("%s: %q is no port number", text, u.Port())
	}
	d.url = u
	return nil
}

// isAddress reports whether a host needs no resolver to be found.
func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

// checkOwn refuses a URL of somebody else's. That shows where the hook runs alone: lull check may
// be far from the pod that it asks about.
func (d *drainer) checkOwn() error {
	if d == nil || d.url == nil || isOwn(d.url.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s: the host is neither loopback nor an address of this pod", d.url)
}

// isOwn reports whether a host is loopback or an address of the pod's.
func isOwn(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if addr.Unmap().IsLoopback() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, o := range own {
		if p, err := netip.ParsePrefix(o.String()); err == nil && p.Addr() == addr.Unmap() {
			return true
		}
	}
	return false
}

// drain asks the app to let its clients go.
func (d *drainer) drain(ctx context.Context, made func(netip.AddrPort)) wait.Drained {
	if d.url != nil {
		return d.call(ctx, made)
	}
	return d.kill()
}

// target finds the process to signal: the container's first, if that handles the signal.
func (d *drainer) target() (process, error) {
	if !inPod() {
		return process{}, errors.New("not in a container of Kubernetes, so there is no first process of its own to signal: use a URL")
	}
	p, err := firstProcess("/proc")
	if err != nil {
		return p, fmt.Errorf("the container's first process cannot be found: %w: use a URL", err)
	}
	if name := unix.SignalName(d.signal); !p.handles("/proc", d.signal) {
		return p, fmt.Errorf("%s does not handle %s: make the app the container's first process (exec), choose a signal that it handles, or use a URL", p, name)
	}
	return p, nil
}

// kill signals it.
func (d *drainer) kill() wait.Drained {
	name := unix.SignalName(d.signal)
	p, err := d.target()
	if err != nil {
		return wait.Drained{Asked: name, Err: err}
	}
	done := wait.Drained{Asked: name + " of " + p.String()}
	if err := unix.Kill(p.pid, d.signal); err != nil {
		cure := "use a URL"
		if errors.Is(err, unix.EPERM) {
			cure = "run the hook as the app's user (securityContext of the container), or use a URL"
		}
		done.Err = fmt.Errorf("%s to %s: %w: %s", name, p, err, cure)
	}
	return done
}

// call makes the request, by no proxy and without following a redirect.
func (d *drainer) call(ctx context.Context, made func(netip.AddrPort)) wait.Drained {
	done := wait.Drained{Asked: d.method + " " + d.url.String()}
	ctx, stop := context.WithTimeout(ctx, drainTimeout)
	defer stop()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if own, err := netip.ParseAddrPort(c.Conn.LocalAddr().String()); err == nil {
			made(netip.AddrPortFrom(own.Addr().Unmap(), own.Port()))
		}
	}})
	request, err := http.NewRequestWithContext(ctx, d.method, d.url.String(), nil)
	if err != nil {
		done.Err = err
		return done
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	switch {
	case err != nil:
		done.Err = fmt.Errorf("%w: check that the app listens there, within %s", err, drainTimeout)
	case answer.StatusCode/100 != 2:
		answer.Body.Close()
		done.Err = fmt.Errorf("%s: %s: check the path and the method (get:http://… for GET)", done.Asked, answer.Status)
	default:
		answer.Body.Close()
	}
	return done
}
