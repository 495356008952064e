// Package wait is the policy of a preStop hook: when may SIGTERM go through to the app?
//
// It asks two witnesses, each behind a small interface. [Cluster] is what the control plane knows:
// is the pod still in rotation, and is anybody there to take over? [Sockets] is what the kernel
// knows: what has arrived on the watched ports, and when? [Policy] turns their answers into one
// decision and an [Outcome] that says why.
//
// The package reads no file, opens no socket and starts no timer other than the standard library's,
// so that testing/synctest can run it through hours of rollouts in no time.
package wait
