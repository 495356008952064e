// Package kube is what the control plane knows of one pod: who the pod is
// (Identify), where the API server is (Config), and, kept up to date by a
// Watcher, whether the pod is being deleted and which Services still name it.
//
// It only reads: get, list and watch of pods, list and watch of
// endpointslices.discovery.k8s.io, both in the pod's own namespace. It decides
// nothing; a View holds facts, and says how fresh they are.
package kube
