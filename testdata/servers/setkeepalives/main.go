// A Go server that on SIGHUP calls SetKeepAlivesEnabled(false), which closes idle connections
// besides answering "Connection: close". It is measured beside examples/drain/go.
package main

import (
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	server := &http.Server{Addr: ":" + os.Getenv("PORT"), ReadHeaderTimeout: 10 * time.Second}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // who has gone needs no answer
	})
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			server.SetKeepAlivesEnabled(false)
		}
	}()
	log.Fatal(server.ListenAndServe())
}
