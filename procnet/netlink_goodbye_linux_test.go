package procnet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// A connection that was idle ends with a last word, as TLS says good-bye, or with a request.
func TestGoodbye(t *testing.T) {
	long(t)
	secure := &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	// encrypted serves, and closes once the client has, which sends a good-bye of its own.
	gone := make(chan struct{}, 1)
	encrypted := func(c *net.TCPConn) {
		defer c.Close()
		s := tls.Server(c, secure)
		defer s.Close()
		io.Copy(s, struct{ io.Reader }{s})
		<-gone
	}
	dialTLS := func(version uint16) func(*testing.T, *net.TCPConn) net.Conn {
		return func(t *testing.T, c *net.TCPConn) net.Conn {
			return tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		}
	}
	plain := func(_ *testing.T, c *net.TCPConn) net.Conn { return c }
	// mute takes the first byte with an answer, and all else without one.
	mute := func(c *net.TCPConn) {
		defer c.Close()
		b := make([]byte, 1)
		io.ReadFull(c, b)
		c.Write(b)
		io.Copy(io.Discard, c)
	}
	// oneWay answers nothing, ever.
	oneWay := func(c *net.TCPConn) { defer c.Close(); io.Copy(io.Discard, c) }
	say := func(n int) func(net.Conn) {
		return func(c net.Conn) { c.Write([]byte(strings.Repeat("x", n))) }
	}
	exchange := func(c net.Conn) { say(20)(c); io.ReadFull(c, make([]byte, 20)) }
	for _, tt := range []struct {
		name    string
		server  func(*net.TCPConn)
		wrap    func(*testing.T, *net.TCPConn) net.Conn
		first   func(net.Conn)
		last    func(net.Conn)
		request bool
	}{
		{"TLS 1.3", encrypted, dialTLS(tls.VersionTLS13), exchange, func(net.Conn) {}, false},
		{"TLS 1.2", encrypted, dialTLS(tls.VersionTLS12), exchange, func(net.Conn) {}, false},
		{"TLS 1.3, after a request", encrypted, dialTLS(tls.VersionTLS13), exchange, exchange, true},
		{"a short word without an answer", mute, plain, func(c net.Conn) { say(1)(c); c.Read(make([]byte, 1)) }, say(24), false},
		{"a long word without an answer", mute, plain, func(c net.Conn) { say(1)(c); c.Read(make([]byte, 1)) }, say(maxGoodbye + 1), true},
		{"a short word with an answer", echo, plain, exchange, exchange, true},
		{"many short words", echo, plain, exchange, func(c net.Conn) { exchange(c); exchange(c); say(1)(c) }, true},
		{"an answer awaited after the end", func(c *net.TCPConn) {
			defer c.Close()
			io.CopyN(c, c, 20)
			b, _ := io.ReadAll(c)
			c.Write(b)
		}, plain, exchange, func(c net.Conn) {
			say(20)(c)
			c.(*net.TCPConn).CloseWrite()
			io.ReadAll(c)
		}, true},
		{"one way", oneWay, plain, say(20), say(20), true},
		{"nothing but the end", echo, plain, exchange, func(net.Conn) {}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan struct{})
			srv := serve(t, func(c *net.TCPConn) { tt.server(c); close(ended) })
			raw := dial(t, "127.0.0.1", srv.port)
			raw.SetDeadline(time.Now().Add(deadline))
			c := tt.wrap(t, raw)
			tt.first(c)
			time.Sleep(5 * clockStep) // what is closer to a dump than that may count twice
			s := openedNetlink(t)
			settled(t, s, srv.port)
			tt.last(c)
			c.Close()
			select {
			case gone <- struct{}{}:
			default:
			}
			<-ended
			select {
			case <-gone:
			default:
			}
			list := look(t, s, srv.port)
			if (count(list, Request) > 0) != tt.request || count(list, Request) < len(list) {
				t.Errorf("%+v, want a request: %t", list, tt.request)
			}
			settled(t, s, srv.port)
		})
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
