package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// client speaks HTTP/1.1 on one connection at a time. It is not http.Client because that one
// retries GETs on its own.
type client struct {
	options
	kind   string
	conn   net.Conn
	since  time.Time // when conn was opened
	reader *bufio.Reader
}

// outcome is how one request went.
type outcome struct {
	at   time.Time
	took time.Duration
	kind string // "" for well
	text string
}

// ask sends one request, connecting first where there is no connection. last: tell the server that
// no more follows.
func (c *client) ask(method string, last bool) outcome {
	at := time.Now()
	kind, err := c.try(at.Add(c.timeout), method, last)
	o := outcome{at: at, took: time.Since(at), kind: kind}
	if err != nil {
		c.close()
		o.text = err.Error()
	}
	return o
}

func (c *client) try(deadline time.Time, method string, last bool) (kind string, err error) {
	if c.conn == nil {
		dialer := net.Dialer{Deadline: deadline}
		dialer.SetMultipathTCP(c.mptcp)
		if c.from.IsValid() {
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source(c.from), 0))
		}
		if c.conn, err = dialer.DialContext(context.Background(), "tcp", c.target); err != nil {
			c.conn = nil
			return name(err, "dial "), err
		}
		c.reader, c.since = bufio.NewReader(c.conn), time.Now()
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return "deadline", err
	}
	if _, err := io.WriteString(c.conn, c.request(method, last)); err != nil {
		return name(err, ""), err
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return name(err, ""), err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return name(err, ""), err
	}
	if answer.StatusCode != http.StatusOK {
		return "status", fmt.Errorf("status %s", answer.Status)
	}
	if answer.Close {
		c.close()
	}
	return "", nil
}

// sources counts the addresses that source has given.
var sources atomic.Uint32

// source is the next address of the prefix, in turn; only its last eight bits vary, and neither the
// first nor the last address of the prefix is taken.
func source(prefix netip.Prefix) netip.Addr {
	address := prefix.Masked().Addr().AsSlice()
	bits := min(8, len(address)*8-prefix.Bits())
	if many := 1<<bits - 2; many > 0 {
		address[len(address)-1] += byte(sources.Add(1)%uint32(many)) + 1
	}
	a, _ := netip.AddrFromSlice(address)
	return a
}

func (c *client) request(method string, last bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s /%s HTTP/1.1\r\nHost: %s\r\n", method, c.kind, c.target)
	if last {
		b.WriteString("Connection: close\r\n")
	}
	body := ""
	if method == http.MethodPost {
		body = strings.Repeat("x", 512)
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.WriteString(body)
	return b.String()
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// name sorts an error into one of a few kinds.
func name(err error, where string) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return where + "timeout"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	}
	return "other"
}
