package wait_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"lull/wait"
)

// deletedPod is what the control plane says of a pod that is being deleted: its Service no longer
// lists it as ready, and has another endpoint that is.
type deletedPod struct{}

func (deletedPod) View() (wait.View, <-chan struct{}) {
	return wait.View{
		PodKnown: true, SlicesKnown: true, Contact: time.Now(),
		Deleting: true, Grace: 30 * time.Second,
		Services: []wait.Service{{Name: "web", Serving: true, Ready: 1}},
		Ports:    []wait.Port{{Name: "http", Number: 8080}},
	}, nil
}

// lateRouter is what the kernel says of the sockets: a router that has not heard of the deletion
// opens connections to the pod until a given time.
type lateRouter struct {
	until time.Time
	asked time.Time
}

func (r *lateRouter) Arrivals(_ context.Context, ports []uint16, yield func(wait.Arrival), _ func(wait.Conn)) (listed bool, err error) {
	newest := time.Now()
	if newest.After(r.until) {
		newest = r.until
	}
	if newest.After(r.asked) { // something has arrived since the last call
		yield(wait.Arrival{At: newest, Kind: wait.Connection, Port: ports[0], Peer: netip.MustParseAddrPort("10.0.3.7:40000"), Count: 1})
	}
	r.asked = time.Now()
	return true, nil // it leaves none of its connections open
}

func (r *lateRouter) Ended() bool { return false }

// A pod is deleted, and a router goes on sending requests to it for a while. Run returns when the
// router has been quiet for the whole window.
func ExamplePolicy_Run() {
	policy := wait.Policy{
		Quiet:    300 * time.Millisecond,
		Reserve:  10 * time.Second,
		Handover: wait.HandoverAuto,
		InPod:    true,
	}
	router := &lateRouter{until: time.Now().Add(200 * time.Millisecond)}

	outcome := policy.Run(context.Background(), deletedPod{}, router)

	fmt.Println("why it ended:", outcome.Reason)
	fmt.Println("last arrival:", outcome.Last)
	fmt.Println("held for the router and the window:", outcome.Held >= 500*time.Millisecond)
	fmt.Println("budget:", outcome.Budget)
	// Output:
	// why it ended: quiet
	// last arrival: new connection from 10.0.3.7 to :8080
	// held for the router and the window: true
	// budget: 20s
}
