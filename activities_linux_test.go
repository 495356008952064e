package main

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"lull/testdata/crowd"
)

const watchedPort, neighbourPort, keepalivePort = 18080, 18081, 18082

// activity goes on while lull waits.
type activity struct {
	name string
	// run goes on until stop is closed, and returns when the last arrival was begun.
	run func(c *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error)
	// harmless reports whether the activity is no arrival for the source. It then goes on past
	// lull's end.
	harmless func(source string) bool
	ports    []string // lull's flags
}

var activities = []activity{
	{"nothing", nothing, always, nil},
	{"a byte a second on one of them", aByteASecond, never, nil},
	// The source proc cannot tell these from requests: on loopback the keepalives themselves arrive
	// in the namespace, not only their answers.
	{"the app's own keepalives", keepalives, netlinkOnly, []string{"--port", strconv.Itoa(keepalivePort)}},
	{"1,000 connections a second to another port", shortOnes(neighbourPort), netlinkOnly, nil},
	{"1,000 connections a second to the app", shortOnes(watchedPort), never, nil},
}

func always(string) bool             { return true }
func never(string) bool              { return false }
func netlinkOnly(source string) bool { return source == "netlink" }

func nothing(_ *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error) {
	<-stop
	return last, nil
}

// aByteASecond sends a byte a second on one of the connections.
func aByteASecond(c *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error) {
	for {
		last = time.Now()
		if err := c.Byte(watchedPort); err != nil {
			return last, err
		}
		select {
		case <-stop:
			return last, nil
		case <-time.After(time.Second):
		}
	}
}

// keepalives holds a hundred idle connections to a Go server that sends keepalives.
func keepalives(_ *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error) {
	l, err := listenOn(keepalivePort)
	if err != nil {
		return last, err
	}
	defer l.Close()
	every := net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second}
	for range 100 {
		client, err := (&net.Dialer{KeepAlive: -1}).Dial("tcp", l.Addr().String())
		if err != nil {
			return last, err
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			return last, err
		}
		defer server.Close()
		if err := server.(*net.TCPConn).SetKeepAliveConfig(every); err != nil {
			return last, err
		}
	}
	<-stop
	return time.Now(), nil
}

// shortOnes makes 1,000 connections a second, which the server closes.
func shortOnes(port int) func(*crowd.Crowd, <-chan struct{}) (time.Time, error) {
	return func(_ *crowd.Crowd, stop <-chan struct{}) (last time.Time, err error) {
		l, err := listenOn(port)
		if err != nil {
			return last, err
		}
		var group sync.WaitGroup
		defer group.Wait()
		defer l.Close()
		group.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.CopyN(c, c, 1)
				c.Close()
			}
		})
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-stop:
				return last, nil
			case <-tick.C:
			}
			last = time.Now()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return last, err
			}
			if _, err = c.Write([]byte("x")); err == nil {
				_, err = io.ReadAll(c)
			}
			if c.Close(); err != nil {
				return last, err
			}
		}
	}
}

func listenOn(port int) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	return config.Listen(context.Background(), "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
