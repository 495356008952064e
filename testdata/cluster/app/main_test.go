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
