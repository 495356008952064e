//go:build !linux

package ownnet

// Own is false where there are no network namespaces.
const Own = false

// Run calls run.
func Run(run func() int) int { return run() }
