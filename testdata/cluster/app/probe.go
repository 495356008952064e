package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"
)

// probe asks an address for /ready on a connection of its own, as grpc_health_probe and curl do. The
// address may name environment variables.
func probe(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	target := "http://" + os.ExpandEnv(address) + "/ready"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	request.Close = true
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", target, answer.Status)
	}
	return nil
}
