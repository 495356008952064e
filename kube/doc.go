// Package kube is what the control plane knows of one pod: who the pod is (Identify), where the API
// server is (Config), and, kept up to date by a Watcher, whether the pod is being deleted and which
// Services still name it.
//
// A Watcher only reads: get of pods, list and watch of endpointslices.discovery.k8s.io, both in the
// pod's own namespace, and get of services where that is allowed. Only where neither the host name
// nor a slice gives the pod's name does it try to list pods. Record is the one thing that writes,
// an Event about the pod. It decides nothing; a View holds facts, and says how fresh they are.
//
// Of the pod:
//
//   - pod_poll.go reads it again and again, pod_search.go finds it where its name is not known
//   - pod.go says what counts of it
//   - slice_watch.go finds the slices that name it and watches them, slice.go and service.go say
//     what counts of them
//   - standby.go asks whether others are on their way, traffic_policy.go whether traffic stays on
//     the node
//   - knowledge.go puts that together, and makes a View of it
//   - events.go creates Events about it
//
// For whoever checks pods beforehand: find.go finds them as kubectl names them, spec.go says what
// of their specs decides how they end, rights.go what their service account may not do.
//
// Of the API server: config.go finds it, client.go and transport.go ask, failure.go says why it
// refuses, hold.go, pause.go and owed.go when to ask and how long an answer has been owed.
package kube
