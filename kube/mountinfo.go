package kube

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// A mountinfo has a line a mount. A container has some dozens; a node seldom more than some
// thousands.
const (
	mountinfoMaxBytes = 8 << 20
	mountinfoMaxLine  = 64 << 10
)

// uidFromMountinfo reads a /proc/PID/mountinfo (the kernel's fs/proc_namespace.c, show_mountinfo)
// and returns the pod's UID and the mount point that gave it away; two empty strings if none did.
//
// The kubelet binds two files into every container from the pod's directory (its kubelet_pods.go,
// makeHostsMount, and kuberuntime_container.go, makeMounts), with hostNetwork and custom host names
// too:
//
//	ROOT/pods/UID/etc-hosts               on /etc/hosts
//	ROOT/pods/UID/containers/NAME/RANDOM  on terminationMessagePath, by default /dev/termination-log
//
// The first is missing where a volume is mounted there instead; both mount points can be covered by
// a later mount, so the last line of each counts.
func uidFromMountinfo(r io.Reader) (uid, mount string, err error) {
	var hosts, log string
	lines := bufio.NewScanner(io.LimitReader(r, mountinfoMaxBytes))
	lines.Buffer(make([]byte, 0, 4096), mountinfoMaxLine)
	for lines.Scan() {
		// 36 35 98:0 /root /mount-point rw,noatime master:1 - ext3 /dev/root rw
		fields := strings.SplitN(lines.Text(), " ", 6)
		if len(fields) < 6 {
			continue
		}
		switch root, point := fields[3], fields[4]; point {
		case "/etc/hosts":
			hosts = uidFromRoot(root, "etc-hosts")
		case "/dev/termination-log":
			log = uidFromRoot(root, "containers")
		}
	}
	if err := lines.Err(); err != nil {
		return "", "", fmt.Errorf("mountinfo: %w", err)
	}
	switch {
	case hosts != "":
		return hosts, "/etc/hosts", nil
	case log != "":
		return log, "/dev/termination-log", nil
	}
	return "", "", nil
}

// uidFromRoot finds UID in .../pods/UID/NEXT..., or returns "". What stands before pods depends on
// the kubelet's --root-dir and on where that is mounted.
func uidFromRoot(root, next string) string {
	// fs/d_path.c, dentry_path: an unlinked file's path ends so.
	parts := strings.Split(strings.TrimSuffix(root, "//deleted"), "/")
	for i := len(parts) - 3; i >= 0; i-- {
		if parts[i] == "pods" && parts[i+2] == next && isUID(parts[i+1]) {
			return parts[i+1]
		}
	}
	return ""
}

// isUID reports whether text can be a pod's UID: a UUID, or for static pods the hash of the
// manifest, 32 hex digits (kubelet's pkg/kubelet/config/common.go, applyDefaults).
func isUID(text string) bool {
	if len(text) < 8 || len(text) > 64 {
		return false
	}
	for _, c := range []byte(text) {
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if !hex && c != '-' {
			return false
		}
	}
	return true
}
