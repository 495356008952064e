package kube

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Identity is who the pod is, as far as the container can tell without asking the API. Name and UID
// may each be empty, not both.
type Identity struct {
	Namespace string
	// Name is the pod's name, or what stands in for it: a host name may be custom, cut at 63
	// characters, or the node's. The Watcher checks it against UID.
	Name string
	// UID is the pod's UID as the kubelet knows it, "" when unknown. For a static pod that is the
	// hash of its manifest, which the API server shows as the annotation kubernetes.io/config.hash.
	UID string
	// IPs are the pod's addresses. They may be missing even if the pod has some.
	IPs []netip.Addr
	// From says how each was found, for the story: "name from POD_NAME".
	From []string
}

// Sources is where Identify looks. The zero value finds nothing.
type Sources struct {
	// Namespace and Pod are what the user said, and win. Pod switches the container's own UID and
	// addresses off unless it is the container's own pod, since they would belong to another.
	Namespace, Pod string
	// ContextNamespace is the namespace of the kubeconfig's context, "" without one: the user means
	// that cluster, so it wins over what the container says.
	ContextNamespace string
	// Getenv finds POD_NAMESPACE, POD_NAME, POD_UID, POD_IP and POD_IPS, which the downward API may
	// have set. Nil: no environment.
	Getenv func(string) string
	// Hostname is the kernel's host name, by default the pod's name. The variable HOSTNAME is not
	// asked: an image may set it.
	Hostname string
	// Root is where the file system begins, "" for none.
	Root string
}

// The files that the kubelet gives to every container, below Sources.Root.
const (
	namespaceFile = "var/run/secrets/kubernetes.io/serviceaccount/namespace"
	mountinfoFile = "proc/self/mountinfo"
)

// Identify finds out who the pod is, each part from the first source that has it: what the user
// said, the downward API's variables, then the service account's namespace file, the host name, and
// for the UID the kubelet's mounts. It fails if there is no namespace or neither name nor UID, or
// if what the user or the environment says cannot be one.
func Identify(from Sources) (Identity, error) {
	if from.Getenv == nil {
		from.Getenv = func(string) string { return "" }
	}
	var id Identity
	if err := id.findNamespace(from); err != nil {
		return Identity{}, err
	}
	own, err := id.findName(from)
	if err != nil {
		return Identity{}, err
	}
	if own {
		if err := id.findUID(from); err != nil {
			return Identity{}, err
		}
		id.findIPs(from)
	}
	if id.Name == "" && id.UID == "" {
		return Identity{}, fmt.Errorf("pod unknown: host name %q is no pod name and /etc/hosts is no mount of the kubelet's", from.Hostname)
	}
	return id, nil
}

func (id *Identity) findNamespace(from Sources) error {
	for _, c := range []struct{ value, name string }{
		{from.Namespace, "--namespace"},
		{from.ContextNamespace, "the kubeconfig"},
		{from.Getenv("POD_NAMESPACE"), "POD_NAMESPACE"},
		{readNamespace(from.Root), "the service account's namespace file"},
	} {
		if c.value == "" {
			continue
		}
		if problems := validation.IsDNS1123Label(c.value); problems != nil {
			return fmt.Errorf("namespace %q from %s: %s", short(c.value), c.name, problems[0])
		}
		id.Namespace = c.value
		id.told("namespace", c.name)
		return nil
	}
	return errors.New("namespace unknown: neither --namespace, POD_NAMESPACE nor a service account's namespace file")
}

// findName also reports whether the pod is the one that the process runs in.
func (id *Identity) findName(from Sources) (own bool, err error) {
	env := from.Getenv("POD_NAME")
	for _, c := range []struct{ value, name string }{{from.Pod, "--pod"}, {env, "POD_NAME"}} {
		if c.value == "" {
			continue
		}
		if problems := validation.IsDNS1123Subdomain(c.value); problems != nil {
			return false, fmt.Errorf("pod name %q from %s: %s", short(c.value), c.name, problems[0])
		}
		id.Name = c.value
		id.told("name", c.name)
		return c.value == env || c.value == from.Hostname, nil
	}
	if validation.IsDNS1123Subdomain(from.Hostname) == nil {
		id.Name = from.Hostname
		id.told("name", "the host name")
	}
	return true, nil
}

func (id *Identity) findUID(from Sources) error {
	if uid := from.Getenv("POD_UID"); uid != "" {
		if !isUID(uid) {
			return fmt.Errorf("uid %q from POD_UID: neither a UUID nor a hash", short(uid))
		}
		id.UID = uid
		id.told("uid", "POD_UID")
		return nil
	}
	if from.Root == "" {
		return nil
	}
	f, err := os.Open(filepath.Join(from.Root, mountinfoFile))
	if err != nil {
		return nil // no /proc, or not Linux: the UID stays unknown
	}
	defer f.Close()
	uid, mount, err := uidFromMountinfo(f)
	if err != nil {
		id.From = append(id.From, "uid unknown: "+err.Error())
		return nil
	}
	if uid != "" {
		id.UID = uid
		id.told("uid", "the "+mount+" mount")
	}
	return nil
}

func (id *Identity) findIPs(from Sources) {
	for _, name := range []string{"POD_IPS", "POD_IP"} {
		for _, text := range strings.Split(from.Getenv(name), ",") {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			addr, err := netip.ParseAddr(text)
			if err != nil {
				id.From = append(id.From, fmt.Sprintf("%s ignored: %q is no address", name, short(text)))
				continue
			}
			id.IPs = append(id.IPs, addr.Unmap())
		}
		if len(id.IPs) > 0 {
			id.told("ips", name)
			return
		}
	}
}

func (id *Identity) told(what, from string) {
	id.From = append(id.From, what+" from "+from)
}

// source returns where a part of the identity was found, "" if that is not known.
func (id *Identity) source(what string) string {
	for _, line := range id.From {
		if from, ok := strings.CutPrefix(line, what+" from "); ok {
			return from
		}
	}
	return ""
}

func readNamespace(root string) string {
	if root == "" {
		return ""
	}
	return readWord(filepath.Join(root, namespaceFile), 1024)
}

// short bounds text that somebody else wrote, for an error.
func short(text string) string {
	const most = 64
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}
