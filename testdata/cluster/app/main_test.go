package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// TestSigterm: the listener is closed at once; a connection that is open has its next request
// answered, and is told that it ends.
func TestSigterm(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ended := make(chan error, 1)
	go func() { ended <- run(options{listen: address, mptcp: true, drain: 20 * time.Second}) }()

	conn := dial(t, address)
	defer conn.Close()
	reader := bufio.NewReader(conn)
	if answer := ask(t, conn, reader); answer.Close {
		t.Error("told to close before SIGTERM")
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("still listening after SIGTERM")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if answer := ask(t, conn, reader); !answer.Close {
		t.Error("not told to close after SIGTERM")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestLetGo: after SIGHUP each answer ends its connection, and new ones are taken as before.
func TestLetGo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{open: map[net.Conn]struct{}{}}
	h := s.http()
	defer h.Close()
	s.letGoOn(syscall.SIGHUP)
	go func() { _ = h.Serve(l) }()
	conn := dial(t, l.Addr().String())
	defer conn.Close()
	reader := bufio.NewReader(conn)
	if answer := ask(t, conn, reader); answer.Close {
		t.Error("told to close before SIGHUP")
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !s.letsGo.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("SIGHUP has no effect")
		}
	}
	if answer := ask(t, conn, reader); !answer.Close {
		t.Error("not told to close after SIGHUP")
	}
	again := dial(t, l.Addr().String())
	defer again.Close()
	if answer := ask(t, again, bufio.NewReader(again)); !answer.Close {
		t.Error("a new connection is not told to close after SIGHUP")
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func ask(t *testing.T, conn net.Conn, reader *bufio.Reader) *http.Response {
	t.Helper()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
	buf := make([]byte, 64)
	if _, err := answer.Body.Read(buf); err != nil && err.Error() != "EOF" {
		t.Fatal(err)
	}
	return answer
}

// TestProbe: the probe succeeds while the app answers, and fails where nothing listens.
func TestProbe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{open: map[net.Conn]struct{}{}}
	h := s.http()
	go func() { _ = h.Serve(l) }()
	t.Setenv("PROBED", "127.0.0.1")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := probe("${PROBED}:" + port); err != nil {
		t.Error(err)
	}
	h.Close()
	if err := probe(l.Addr().String()); err == nil {
		t.Error("no error where nothing listens")
	}
	if s.requests.Load() != 0 {
		t.Error("a probe counts as a request")
	}
}

// TestHang: from then on connections are taken by the kernel and by nobody else, until SIGTERM.
func TestHang(t *testing.T) {
	under, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newHangingListener(under, 50*time.Millisecond)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	time.Sleep(200 * time.Millisecond)
	conn, err := net.Dial("tcp", under.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	select {
	case err := <-accepted:
		t.Fatalf("accepted, or failed, after the hang: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	l.Close()
	if err := <-accepted; err == nil {
		t.Error("accepted after the end")
	}
}
