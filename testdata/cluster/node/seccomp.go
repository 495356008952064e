package node

import "os"

// NoNetlinkProfile is the name of a seccomp profile (type Localhost) that refuses AF_NETLINK
// sockets with EAFNOSUPPORT and nothing else.
const NoNetlinkProfile = "no-netlink.json"

// writeSeccomp puts the profile where the kubelet looks for it: its root directory's seccomp/.
// 16 is AF_NETLINK (linux/socket.h), 97 EAFNOSUPPORT (asm-generic/errno.h).
func (n *Node) writeSeccomp() error {
	return os.WriteFile(n.fs("var-lib", "kubelet", "seccomp", NoNetlinkProfile), []byte(`{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [{
    "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97,
    "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]
  }]
}
`), 0o644)
}
