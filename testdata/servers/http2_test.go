package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"syscall"
	"time"
)

// http2 is a client of HTTP/2 without TLS until ctx is done. It is net/http's, which obeys a
// GOAWAY by itself and sends again what the server says that it has not seen.
func (c *client) http2(ctx context.Context) {
	var current *connection
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		conn, err := dialFar(context.Background(), c.target)
		if err != nil {
			c.refused = append(c.refused, time.Now())
			return nil, err
		}
		return conn, nil
	}
	// A connection has ended for its client when a request takes another one.
	used := map[string]*connection{}
	connected := false
	leave := func() {
		if current != nil && current.how == open {
			current.ended, current.how = time.Now(), asked
		}
	}
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		connected = true
		name := got.Conn.LocalAddr().String()
		if used[name] != nil {
			return
		}
		leave()
		current = &connection{opened: time.Now()}
		used[name] = current
		c.connections = append(c.connections, current)
	}}
	defer transport.CloseIdleConnections()
	for ctx.Err() == nil {
		time.Sleep(pace())
		connected = false
		err := c.get(httptrace.WithClientTrace(context.Background(), trace), transport)
		switch {
		case !connected, errors.Is(err, syscall.ECONNREFUSED): // it was to go to the next connection
			leave()
		case err != nil:
			current.ended, current.how = time.Now(), broken
			c.failures = append(c.failures, err.Error())
		default:
			current.answers++
		}
	}
}

func (c *client) get(ctx context.Context, transport *http.Transport) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.target+"/", nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}
