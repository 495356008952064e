package wait_test

import (
	"cmp"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"lull/wait"
)

// TestLateStart: a process may run only long after the hook has started. The budget counts from the
// start. What was never watched and never asked until then has not been quiet or silent so long.
func TestLateStart(t *testing.T) {
	for name, tt := range map[string]struct {
		late    time.Duration // 0: 8 s
		cluster wait.Cluster
		says    []says // of another one
		inPod   bool
		loads   []load
		reason  wait.Reason
		took    time.Duration // from when it ran
	}{
		"outside a pod":             {reason: wait.Quiet, took: 5 * time.Second},
		"nobody is asked, in a pod": {inPod: true, reason: wait.Quiet, took: 10 * time.Second},
		"the control plane refuses": {cluster: refusing{}, inPod: true, reason: wait.Quiet, took: 10 * time.Second},
		"the control plane is mute": {cluster: mute{}, inPod: true, reason: wait.Quiet, took: 10 * time.Second},
		"the control plane has yet to tell of a long grace period": {late: 25 * time.Second, inPod: true, reason: wait.Quiet, took: 5060 * time.Millisecond,
			says: removed(func(v *wait.View) { v.Grace = 2 * time.Minute })},
		"clients that call for long": {loads: []load{clients(0, 60_000, 10)}, reason: wait.Budget, took: 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := defaults()
				policy.InPod = tt.inPod
				began, late := time.Now(), cmp.Or(tt.late, 8*time.Second)
				if tt.says != nil {
					tt.cluster = &cluster{start: began, says: tt.says}
				}
				policy.Start = began.Add(-late)
				o := policy.Run(t.Context(), tt.cluster, &sockets{start: began, asked: began, loads: tt.loads})
				if took := time.Since(began); o.Reason != tt.reason || took != tt.took || o.Held != took+late {
					t.Errorf("ended with %v after %v, held %v", o.Reason, took, o.Held)
				}
			})
		})
	}
}

// mute is a control plane that says nothing.
type mute struct{}

func (mute) View() (wait.View, <-chan struct{}) { return wait.View{}, nil }

// refusing is one that has refused by the first question.
type refusing struct{}

func (refusing) View() (wait.View, <-chan struct{}) {
	return wait.View{Err: errors.New("403"), Refused: true, SlicesRefused: true}, nil
}
