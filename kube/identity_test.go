package kube_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lull/kube"
)

const staticHash = "5e1d7c0ba4f3926881c2d3e4f5a6b7c8"

// container builds a root directory with a captured mountinfo, and a service account's namespace
// file unless namespace is empty.
func container(t *testing.T, mountinfo, namespace string) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if mountinfo != "" {
		text, err := os.ReadFile(filepath.Join("testdata", "mountinfo", mountinfo))
		if err != nil {
			t.Fatal(err)
		}
		write("proc/self/mountinfo", string(text))
	}
	if namespace != "" {
		write("var/run/secrets/kubernetes.io/serviceaccount/namespace", namespace)
	}
	return root
}

func TestIdentify(t *testing.T) {
	const fromFile, fromHost, fromMount = "namespace from the service account's namespace file",
		"name from the host name", "uid from the /etc/hosts mount"
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	for _, tt := range []struct {
		name                 string
		mountinfo, namespace string
		env                  map[string]string
		from                 kube.Sources
		want                 kube.Identity
		err                  string
	}{
		{
			name: "containerd, cgroup v2", mountinfo: "containerd-v2", namespace: "shop\n",
			from: kube.Sources{Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", UID: podUID, From: []string{fromFile, fromHost, fromMount}},
		},
		{
			name: "containerd, cgroup v1, kubelet on its own disk", mountinfo: "containerd-v1-own-disk", namespace: "shop",
			from: kube.Sources{Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", UID: podUID, From: []string{fromFile, fromHost, fromMount}},
		},
		{
			name: "cri-o", mountinfo: "crio", namespace: "shop",
			from: kube.Sources{Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", UID: podUID, From: []string{fromFile, fromHost, fromMount}},
		},
		{
			name: "dockershim", mountinfo: "dockershim", namespace: "shop",
			from: kube.Sources{Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", UID: podUID, From: []string{fromFile, fromHost, fromMount}},
		},
		{
			name: "static pod with hostNetwork", mountinfo: "static-host-network",
			env:  map[string]string{"POD_NAMESPACE": "kube-system"},
			from: kube.Sources{Hostname: "node-1.example.com"},
			want: kube.Identity{Namespace: "kube-system", Name: "node-1.example.com", UID: staticHash,
				From: []string{"namespace from POD_NAMESPACE", fromHost, fromMount}},
		},
		{
			name: "own hosts file", mountinfo: "own-hosts-file", namespace: "shop",
			from: kube.Sources{Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", UID: podUID,
				From: []string{fromFile, fromHost, "uid from the /dev/termination-log mount"}},
		},
		{
			name: "odd root directory, host name that no pod can have", mountinfo: "odd-root-dir", namespace: "shop",
			from: kube.Sources{Hostname: "My_Host"},
			want: kube.Identity{Namespace: "shop", UID: podUID, From: []string{fromFile, fromMount}},
		},
		{
			name: "no mount of the kubelet's", mountinfo: "docker", namespace: "shop",
			from: kube.Sources{Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", From: []string{fromFile, fromHost}},
		},
		{
			name: "no /proc", namespace: "shop",
			from: kube.Sources{Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", From: []string{fromFile, fromHost}},
		},
		{
			name: "downward API", mountinfo: "containerd-v2", namespace: "shop",
			env: map[string]string{"POD_NAMESPACE": "till", "POD_NAME": "web-2", "POD_UID": otherUID,
				"POD_IP": "10.0.0.7", "POD_IPS": "10.0.0.7,fd00:1::7", "HOSTNAME": "liar"},
			from: kube.Sources{Hostname: "custom"},
			want: kube.Identity{Namespace: "till", Name: "web-2", UID: otherUID, IPs: addrs("10.0.0.7", "fd00:1::7"),
				From: []string{"namespace from POD_NAMESPACE", "name from POD_NAME", "uid from POD_UID", "ips from POD_IPS"}},
		},
		{
			name: "one address, and not an address", namespace: "shop",
			env:  map[string]string{"POD_IP": "::ffff:10.0.0.7", "POD_IPS": "ten"},
			from: kube.Sources{Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", IPs: addrs("10.0.0.7"),
				From: []string{fromFile, fromHost, `POD_IPS ignored: "ten" is no address`, "ips from POD_IP"}},
		},
		{
			name: "another pod, asked for by hand in a container", mountinfo: "containerd-v2", namespace: "shop",
			env:  map[string]string{"POD_UID": otherUID, "POD_IP": "10.0.0.7"},
			from: kube.Sources{Namespace: "till", Pod: "db-0", Hostname: "web-1"},
			want: kube.Identity{Namespace: "till", Name: "db-0", From: []string{"namespace from --namespace", "name from --pod"}},
		},
		{
			name: "the own pod, by flag", mountinfo: "containerd-v2", namespace: "shop",
			from: kube.Sources{Pod: "web-1", Hostname: "web-1"},
			want: kube.Identity{Namespace: "shop", Name: "web-1", UID: podUID, From: []string{fromFile, "name from --pod", fromMount}},
		},
		{
			name: "kubeconfig's namespace", namespace: "shop",
			from: kube.Sources{Pod: "db-0", ContextNamespace: "till"},
			want: kube.Identity{Namespace: "till", Name: "db-0", From: []string{"namespace from the kubeconfig", "name from --pod"}},
		},
		{name: "no namespace", mountinfo: "machine", from: kube.Sources{Hostname: "laptop"}, err: "namespace unknown"},
		{name: "no name, no uid", namespace: "shop", from: kube.Sources{Hostname: "_"}, err: `pod unknown: host name "_"`},
		{name: "bad flag", from: kube.Sources{Namespace: "no/../where"}, err: `namespace "no/../where" from --namespace`},
		{name: "bad pod", namespace: "shop", from: kube.Sources{Pod: "a/b"}, err: `pod name "a/b" from --pod`},
		{name: "bad variable", namespace: "shop", env: map[string]string{"POD_UID": "../etc"}, err: `uid "../etc" from POD_UID`},
		{name: "bad namespace file", namespace: strings.Repeat("x", 5000), err: "namespace \"xxx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := tt.from
			from.Root = container(t, tt.mountinfo, tt.namespace)
			from.Getenv = func(name string) string { return tt.env[name] }
			got, err := kube.Identify(from)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("err %v, want %q", err, tt.err)
				}
				if strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
					t.Errorf("err is no line: %q", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			equal := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
			if diff := cmp.Diff(tt.want, got, equal); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The machine that the test runs on is a source like any other.
func TestIdentifyHere(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	from := kube.Sources{Getenv: os.Getenv, Hostname: host, Root: "/", Namespace: "default", Pod: "web-1"}
	id, err := kube.Identify(from)
	if err != nil || id.Name != "web-1" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestIdentifyNothing(t *testing.T) {
	if id, err := kube.Identify(kube.Sources{}); err == nil {
		t.Errorf("found %+v in nothing", id)
	}
}
