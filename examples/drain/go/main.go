// A Go server that lets its clients go when it is asked to: from SIGHUP on every answer says
// "Connection: close", and the server still listens and serves. On HTTP/2 net/http turns that
// header into a GOAWAY, which asks the client for a new connection, too.
//
// In the pod:
//
//	containers:
//	  - name: web
//	    command: [/web]
//	    lifecycle:
//	      preStop:
//	        exec:
//	          command: [/lull, --drain=HUP]
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

var draining atomic.Bool

// drainable is what an app needs: a handler around its own.
func drainable(app http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() {
			w.Header().Set("Connection", "close")
		}
		app.ServeHTTP(w, r)
	})
}

func main() {
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // who has gone needs no answer
	})
	server := &http.Server{Addr: ":8080", Handler: drainable(app), ReadHeaderTimeout: 10 * time.Second}
	if port := os.Getenv("PORT"); port != "" {
		server.Addr = ":" + port
	}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			draining.Store(true)
		}
	}()

	term, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-term.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Print(err)
	}
}
