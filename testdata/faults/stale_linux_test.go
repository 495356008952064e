package faults

import (
	"testing"
	"time"
)

// staleFor is for how long the API server may be behind about the pod itself: what says that it is
// not being deleted counts for lull once it has stood for 0.5 s (wait's settleAfter). After that it
// passes for a restart, in which the kubelet runs the hook, too.
const staleFor = 300 * time.Millisecond

// staleSlices: the pod is deleted and out of rotation, and is not seen to be.
var staleSlices = fault{
	name: "stale reads: for 0.3 s the pod is the one before the deletion, for 1.5 s the slices are", why: "quiet",
	does:  "stays until it is told otherwise, then the window; a pod that is not being deleted for 0.5 s is one that restarts",
	calls: calls, stays: -1, least: 1500*time.Millisecond + quiet, most: 3*time.Second + quiet,
	before: func(_ *testing.T, w *world) {
		w.control.Put(w.control.pod(podUID))
		old := w.control.Version()
		w.control.delete()
		w.control.list(false)
		w.control.serveAsOf(old, "pods", "endpointslices")
	},
	during: func(_ *testing.T, w *world) {
		if w.within(staleFor) {
			w.control.serveAsOf(0, "pods")
		}
		if w.within(1500*time.Millisecond - staleFor) {
			w.left = time.Now()
			w.control.serveAsOf(0, "endpointslices")
		}
	},
}

// staleAll: what has been seen is taken back for a while, as by a server of several that is behind.
var staleAll = fault{
	name: "all that is read goes back to before the deletion, in the middle for 0.3 s", why: "quiet",
	does:  "no difference; a pod that is not being deleted for 0.5 s is one that restarts",
	calls: calls, stays: -1, least: staleFor + heard + quiet, most: leaves + staleFor + heard + quiet + graceful,
	before: func(_ *testing.T, w *world) {
		w.control.Put(w.control.pod(podUID))
		w.control.before = w.control.Version()
		w.control.delete()
	},
	during: func(_ *testing.T, w *world) {
		if !w.middle() {
			return
		}
		w.control.serveAsOf(w.control.before, "pods", "endpointslices")
		w.control.BreakWatches()
		if w.within(staleFor) {
			w.control.serveAsOf(0, "pods", "endpointslices")
		}
		if w.within(heard) {
			w.leave()
		}
	},
}

// serveAsOf serves resources as they were at a version, or by 0 as they are.
func (c *control) serveAsOf(version int, resources ...string) {
	c.Do(func() {
		for _, r := range resources {
			if c.AsOf[r] = version; version == 0 {
				delete(c.AsOf, r)
			}
		}
	})
}
