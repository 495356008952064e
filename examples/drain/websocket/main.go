// A WebSocket server, for streams that last: it tells each client the time once a second for as
// long as the client likes. Clients cannot be let go between two requests here, and SIGTERM would
// cut them. So the hook waits until they have gone by themselves (--max-open=0), or until the
// budget ends: the grace period is as long as a stream may last. A client's goodbye is told from a
// request, so where nothing else has arrived for --quiet the hook ends with the last connection.
//
// In the pod:
//
//	terminationGracePeriodSeconds: 3600
//	containers:
//	  - name: clock
//	    command: [/clock]
//	    lifecycle:
//	      preStop:
//	        exec:
//	          command: [/lull, --max-open=0]
//
// The protocol is RFC 6455, as much of it as a clock needs: small messages, none in pieces.
package main

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it, and it protects nothing
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// The frames that it sends and understands; each is the last of its message.
const (
	text  = 0x81
	bye   = 0x88
	ping  = 0x89
	pong  = 0x8a
	small = 125 // the longest that needs no longer header
)

// clock answers a WebSocket's handshake, then sends the time until the client goes.
func clock(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" {
		http.Error(w, "a WebSocket is needed", http.StatusUpgradeRequired)
		return
	}
	conn, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = conn.Close() }()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	if _, err := io.WriteString(conn, answer); err != nil {
		return
	}
	answers := make(chan []byte) // to what the client says
	ended := make(chan struct{})
	defer close(ended)
	go listen(both.Reader, answers, ended)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		frame := []byte(nil)
		select {
		case a, ok := <-answers:
			if !ok {
				return
			}
			frame = a
		case now := <-tick.C:
			frame = message(text, now.Format(time.TimeOnly))
		}
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second)) // fails only where the next line does
		if _, err := conn.Write(frame); err != nil || frame[0] == bye {
			return
		}
	}
}

// message is a frame from the server; these are not masked.
func message(kind byte, payload string) []byte {
	return append([]byte{kind, byte(len(payload))}, payload...)
}

// listen reads what the client sends, and passes on what has to be answered. It closes answers
// when the client has gone or says what a clock does not understand.
func listen(from *bufio.Reader, answers chan<- []byte, ended <-chan struct{}) {
	defer close(answers)
	for {
		head := make([]byte, 6) // kind, length, and the mask, which every client has to use
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		length, mask := int(head[1]&^0x80), head[2:]
		if head[1]&0x80 == 0 || length > small {
			return
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(from, payload); err != nil {
			return
		}
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		var answer []byte
		switch head[0] {
		case ping:
			answer = message(pong, string(payload))
		case bye:
			answer = message(bye, string(payload))
		default:
			continue
		}
		select {
		case answers <- answer:
		case <-ended:
			return
		}
	}
}

func main() {
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(clock), ReadHeaderTimeout: 10 * time.Second}
	if port := os.Getenv("PORT"); port != "" {
		server.Addr = ":" + port
	}
	log.Fatal(server.ListenAndServe())
}
