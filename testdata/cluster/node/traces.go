package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Traces lists what nodes of this package have on the machine right now, in words: processes,
// mounts, cgroups, state. Nothing, unless one is up.
func Traces() ([]string, error) {
	p, err := newPaths()
	if err != nil {
		return nil, err
	}
	var list []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if what, ours := traced(p, dir); ours {
			list = append(list, "process "+filepath.Base(dir)+": "+what)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, p.cache) {
			list = append(list, "mount "+strings.TrimSpace(line))
		}
	}
	for _, dir := range kubepods() {
		list = append(list, "cgroup "+dir)
	}
	if _, err := os.Stat(p.run()); err == nil {
		list = append(list, "state "+p.run())
	}
	return list, nil
}

// traced reports whether a process is one of a node's, and its command line.
func traced(p paths, dir string) (what string, ours bool) {
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return "", false
	}
	what = strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))
	// The go command builds into the cache directory, too.
	ours = strings.Contains(what, p.run()) || strings.Contains(what, p.bin("")) && !strings.HasPrefix(what, "go ")
	cgroup, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
	return what, ours || strings.Contains(what, "containerd-shim") || strings.Contains(string(cgroup), "/kubepods")
}

// watched are settings of the machine that Kubernetes' components would like to have a say in.
var watched = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	"net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_buckets", "net/netfilter/nf_conntrack_tcp_timeout_established",
	"net/netfilter/nf_conntrack_tcp_timeout_close_wait", "net/netfilter/nf_conntrack_tcp_be_liberal",
	"net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding", "net/ipv4/conf/all/route_localnet", "net/ipv6/conf/all/forwarding",
	"net/bridge/bridge-nf-call-iptables", "net/core/somaxconn", "net/core/rmem_max",
}

// Machine describes what a node must leave alone: the machine's own settings, network devices,
// addresses, routes, named network namespaces, and top-level cgroups. Two calls with a node's life
// between them give the same.
func Machine() []string {
	var list []string
	for _, key := range watched {
		value, err := os.ReadFile("/proc/sys/" + key)
		if err == nil {
			list = append(list, key+" = "+strings.TrimSpace(string(value)))
		}
	}
	for _, file := range []string{"/proc/net/route", "/proc/net/if_inet6", "/proc/net/fib_trie"} {
		text, err := os.ReadFile(file)
		if err == nil {
			list = append(list, fmt.Sprintf("%s:\n%s", file, text))
		}
	}
	for _, pattern := range []string{"/sys/class/net/*", "/run/netns/*", "/sys/fs/cgroup/*", "/sys/fs/cgroup/*/kube*", "/opt/*", "/etc/cni", "/var/lib/kubelet", "/usr/libexec/kubernetes"} {
		names, _ := filepath.Glob(pattern)
		slices.Sort(names)
		list = append(list, pattern+": "+strings.Join(names, " "))
	}
	return list
}
