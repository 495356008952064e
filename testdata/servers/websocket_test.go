package servers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"
)

// TestWebSocket is the example of a stream: lull waits until its client has gone.
func TestWebSocket(t *testing.T) {
	const quiet, stays, late = time.Second, 3 * time.Second, time.Second
	p := newPlace(t)
	start(t, p, []string{built(t, p, "lull/examples/drain/websocket")})
	lull := built(t, newPlace(t), "lull")
	conn, from := dialWebSocket(t, p.target())

	began := time.Now()
	hook := exec.Command(lull, "--endpoints=skip", "--port", fmt.Sprint(p.port), "--quiet", quiet.String(), "--max-open=0", "--timeout=20s", "--log=none")
	ended := make(chan error, 1)
	var story []byte
	go func() {
		var err error
		story, err = hook.CombinedOutput()
		ended <- err
	}()
	// The server sends all the while, and the client answers nothing.
	for time.Since(began) < stays {
		if frame := readFrame(t, from); frame.kind != 0x1 || len(frame.payload) != len(time.TimeOnly) {
			t.Fatalf("%+v is not the time", frame)
		}
	}
	writeFrame(t, conn, 0x9, "still there?")
	if pong := nextFrame(t, from, 0xa); pong != "still there?" {
		t.Errorf("answer to a ping: %q", pong)
	}
	writeFrame(t, conn, 0x8, "\x03\xe8")
	if bye := nextFrame(t, from, 0x8); bye != "\x03\xe8" {
		t.Errorf("answer to a close: %q", bye)
	}
	if _, err := from.ReadByte(); err != io.EOF {
		t.Errorf("after that: %v, want an end", err)
	}
	_ = conn.Close()
	left := time.Since(began)
	if err := <-ended; err != nil {
		t.Errorf("lull: %v: %s", err, story)
	}
	// The client's goodbye is data, but where all connections must end it holds nothing by itself.
	if held := time.Since(began); held < stays || held > left+late {
		t.Errorf("lull held for %s, and the client left after %s: %s", held, left, story)
	}
}

// dialWebSocket makes the handshake of RFC 6455 with the example key of its section 1.3.
func dialWebSocket(t *testing.T, target string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", target); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	answer, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got := answer.Header.Get("Sec-WebSocket-Accept"); answer.StatusCode != http.StatusSwitchingProtocols || got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("%s, key %q", answer.Status, got)
	}
	return conn, from
}

// frame is a whole message.
type frame struct {
	kind    byte
	payload string
}

func readFrame(t *testing.T, from *bufio.Reader) frame {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(from, head); err != nil {
		t.Fatal(err)
	}
	if head[0]&0xf0 != 0x80 || head[1] > 125 {
		t.Fatalf("a frame begins with %x", head)
	}
	payload := make([]byte, head[1])
	if _, err := io.ReadFull(from, payload); err != nil {
		t.Fatal(err)
	}
	return frame{head[0] & 0xf, string(payload)}
}

// nextFrame returns what the next frame of a kind holds.
func nextFrame(t *testing.T, from *bufio.Reader, kind byte) string {
	t.Helper()
	for {
		if f := readFrame(t, from); f.kind == kind {
			return f.payload
		}
	}
}

// writeFrame sends a frame, masked as a client's has to be.
func writeFrame(t *testing.T, to io.Writer, kind byte, payload string) {
	t.Helper()
	mask := []byte{0x12, 0x34, 0x56, 0x78}
	text := append([]byte{0x80 | kind, 0x80 | byte(len(payload))}, mask...)
	for i := range len(payload) {
		text = append(text, payload[i]^mask[i%4])
	}
	if _, err := to.Write(text); err != nil {
		t.Fatal(err)
	}
}
