// Package cluster proves lull on a real one-node Kubernetes: a preStop hook in a pod spec, run by a
// real kubelet, with a real kube-proxy in front of the pod and real clients on the other side.
//
//	go test -C testdata/cluster -timeout 60m ./...
//
// as root, on a Debian machine with Go. The first run builds Kubernetes, etcd and a containerd for
// image volumes from Go modules, in minutes; later ones take seconds for it. Package node is how
// the cluster is made; the scenarios are this package's tests. Each has a namespace to itself and
// prints its figures. Without root, or without what it needs and can't install, everything that
// needs a cluster is skipped, saying why.
//
// Environment:
//
//	LULL_CLUSTER=required     what would be skipped fails
//	LULL_CLUSTER_ROLLOUTS=n   rolling updates a hook in TestRollingUpdate; else 10, or 2 where
//	                          go test's time limit has no room for more
//	LULL_CLUSTER_FIGURES=dir  where tables and pictures go; else the cache directory
//
// figures/settings.md, figures/many.md and figures/routers.md are kept from a run of TestSettings
// (ordinary pods that nobody calls), TestManyHooks (what 200 hooks at once ask of the API server) and
// TestSlowRouter.
//
// go test allows 10 minutes unless -timeout says otherwise: enough for a short run with everything
// built, not for the whole.
package cluster
