package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

func TestParseKubeconfig(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "kubeconfig.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for context, tt := range map[string]struct {
		want      rest.Config
		namespace string
		err       string
	}{
		"files": {namespace: "shop", want: rest.Config{
			Host: "https://10.0.0.1:6443", BearerTokenFile: "/home/me/.kube/token",
			TLSClientConfig: rest.TLSClientConfig{
				CAFile: "/home/me/.kube/ca.crt", ServerName: "kubernetes",
				CertFile: "/etc/me.crt", KeyFile: "/home/me/.kube/keys/me.key",
			},
		}},
		"data": {namespace: "default", want: rest.Config{
			Host: "https://api.example.com/prefix", DisableCompression: true, BearerToken: "t0ken", Username: "me", Password: "s3cret",
			TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca"), CertData: []byte("cert"), KeyData: []byte("key")},
			Impersonate:     rest.ImpersonationConfig{UserName: "you", UID: "7", Groups: []string{"them"}, Extra: map[string][]string{"a": {"b"}}},
		}},
		"plugin": {namespace: "default", want: rest.Config{
			Host:            "https://10.0.0.1:6443",
			TLSClientConfig: rest.TLSClientConfig{CAFile: "/home/me/.kube/ca.crt", ServerName: "kubernetes"},
			ExecProvider: &api.ExecConfig{
				Command: "/home/me/.kube/bin/login", Args: []string{"--region", "here"}, Env: []api.ExecEnvVar{{Name: "PROFILE", Value: "dev"}},
				APIVersion: "client.authentication.k8s.io/v1beta1", InstallHint: "install login", ProvideClusterInfo: true, InteractiveMode: "IfAvailable",
			},
		}},
		"anonymous":   {namespace: "default", want: rest.Config{Host: "https://api.example.com/prefix", DisableCompression: true, TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca")}}},
		"in-clear":    {namespace: "default", want: rest.Config{Host: "http://127.0.0.1:8001"}},
		"no-server":   {err: `cluster "nosuch" has no server`},
		"no-user":     {err: `user "nosuch" is none of its users`},
		"old":         {err: "auth-provider is not supported"},
		"bad-proxy":   {err: "proxy-url is no URL"},
		"nowhere":     {err: `current-context "nowhere" is none of its contexts`},
		"no\\ncontex": {err: "current-context"},
	} {
		t.Run(context, func(t *testing.T) {
			got, namespace, err := parseKubeconfig([]byte(strings.Replace(string(text), "CONTEXT", context, 1)), "/home/me/.kube")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret") {
					t.Fatalf("err %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" || namespace != tt.namespace {
				t.Errorf("namespace %q; (-want +got)\n%s", namespace, diff)
			}
		})
	}
}

func TestParseKubeconfigProxy(t *testing.T) {
	cfg, _, err := parseKubeconfig([]byte(`{current-context: a, contexts: [{name: a, context: {cluster: c}}],
clusters: [{name: c, cluster: {server: "https://10.0.0.1", proxy-url: "http://me:s3cret@proxy:3128"}}]}`), "/")
	if err != nil {
		t.Fatal(err)
	}
	if u, err := cfg.Proxy(nil); err != nil || u.Host != "proxy:3128" {
		t.Errorf("proxy %v, %v", u, err)
	}
}

func FuzzParseKubeconfig(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "kubeconfig.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, context := range []string{"files", "data", "plugin", "old"} {
		f.Add([]byte(strings.Replace(string(text), "CONTEXT", context, 1)))
	}
	f.Add([]byte("current-context: a\ncontexts: [{name: a}]\nclusters: [{name: '', cluster: {server: ':'}}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, namespace, err := parseKubeconfig(text, "/")
		if err == nil && (cfg.Host == "" || namespace == "") {
			t.Errorf("host %q, namespace %q", cfg.Host, namespace)
		}
	})
}
