package kube_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"lull/kube"
)

// kubeconfig writes the captured kubeconfig with that current context, and the files that it names.
func kubeconfig(t *testing.T, context string) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "kubeconfig.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path = filepath.Join(dir, "config")
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config": strings.Replace(string(text), "CONTEXT", context, 1),
		"token":  "from-file", "ca.crt": "", "me.crt": "", "keys/me.key": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// What a kubeconfig may hold reaches the client, and no secret reaches an error.
func TestKubeconfig(t *testing.T) {
	anonymous := rest.Config{Host: "https://api.example.com/prefix", DisableCompression: true, TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca")}}
	for context, tt := range map[string]struct {
		want      rest.Config
		namespace string
		err       string
	}{
		"files": {namespace: "shop", want: rest.Config{
			Host: "https://10.0.0.1:6443", BearerToken: "from-file", BearerTokenFile: "DIR/token",
			TLSClientConfig: rest.TLSClientConfig{
				CAFile: "DIR/ca.crt", ServerName: "kubernetes",
				CertFile: "DIR/me.crt", KeyFile: "DIR/keys/me.key",
			},
		}},
		"data": {namespace: "default", want: rest.Config{
			Host: "https://api.example.com/prefix", DisableCompression: true, BearerToken: "t0ken",
			TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca"), CertData: []byte("cert"), KeyData: []byte("key")},
			Impersonate:     rest.ImpersonationConfig{UserName: "you", UID: "7", Groups: []string{"them"}, Extra: map[string][]string{"a": {"b"}}},
		}},
		"plugin": {namespace: "default", want: rest.Config{
			Host:            "https://10.0.0.1:6443",
			TLSClientConfig: rest.TLSClientConfig{CAFile: "DIR/ca.crt", ServerName: "kubernetes"},
			ExecProvider: &api.ExecConfig{
				Command: "DIR/bin/login", Args: []string{"--region", "here"}, Env: []api.ExecEnvVar{{Name: "PROFILE", Value: "dev"}},
				APIVersion: "client.authentication.k8s.io/v1beta1", InstallHint: "install\nlogin", ProvideClusterInfo: true, InteractiveMode: "IfAvailable",
			},
		}},
		"password": {namespace: "default", want: rest.Config{
			Host: "https://api.example.com/prefix", DisableCompression: true, Username: "me", Password: "s3cret",
			TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca")},
		}},
		"anonymous": {namespace: "default", want: anonymous},
		"no-user":   {namespace: "default", want: anonymous}, // as for kubectl; the API server then refuses
		"in-clear": {namespace: "default", want: rest.Config{Host: "http://127.0.0.1:8001", // whom to act for is no secret
			Impersonate: rest.ImpersonationConfig{UserName: "you", UID: "7", Groups: []string{"them"}, Extra: map[string][]string{"a": {"b"}}}}},
		"no-server":   {err: "it names no cluster to talk to"},
		"bad-proxy":   {err: "proxy"},
		"nowhere":     {err: "context was not found for specified context: nowhere"},
		"no\\ncontex": {err: "context"},
	} {
		t.Run(context, func(t *testing.T) {
			path := kubeconfig(t, context)
			got, namespace, err := kube.Config(kube.Access{Kubeconfig: path})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret") {
					t.Fatalf("err %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range []*string{&tt.want.BearerTokenFile, &tt.want.CAFile, &tt.want.CertFile, &tt.want.KeyFile} {
				*file = strings.Replace(*file, "DIR", filepath.Dir(path), 1)
			}
			if p := tt.want.ExecProvider; p != nil {
				p.Command = strings.Replace(p.Command, "DIR", filepath.Dir(path), 1)
			}
			if diff := cmp.Diff(&tt.want, got, cmpopts.IgnoreUnexported(api.ExecConfig{})); diff != "" || namespace != tt.namespace {
				t.Errorf("namespace %q; (-want +got)\n%s", namespace, diff)
			}
			// The same by the context's name, beside another current one.
			other, namespace, err := kube.Config(kube.Access{Kubeconfig: kubeconfig(t, "nowhere"), Context: context})
			if err != nil || other.Host != got.Host || namespace != tt.namespace {
				t.Errorf("by --context: %v, namespace %q, %v", other, namespace, err)
			}
		})
	}
}

// What would be read for ever, or into more memory than there is, is refused before it is opened.
func TestKubeconfigThatCannotBeRead(t *testing.T) {
	huge := filepath.Join(t.TempDir(), "huge")
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, 5<<20)); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		"/": "/ is no regular file", "/dev/zero": "/dev/zero is no regular file", huge: "is larger than 4 MiB",
		"/nonexistent": "no such file", "two\nlines": "two lines",
	} {
		for how, to := range map[string]kube.Access{"by the flag": {Kubeconfig: path}, "like kubectl": {LikeKubectl: true}} {
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			t.Setenv("KUBECONFIG", path+string(filepath.ListSeparator)+"/nonexistent/too")
			_, _, err := kube.Config(to)
			if how == "like kubectl" && errors.Is(err, kube.ErrNoCluster) && !strings.Contains(says, "regular") && !strings.Contains(says, "larger") {
				continue // a file that is missing is one of several
			}
			if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%.40s, %s: %.200v, want %q", path, how, err, says)
			}
		}
	}
}

// The app's KUBECONFIG is nothing to a hook; by hand it is what kubectl would take.
func TestKubeconfigOfTheEnvironment(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
	more := filepath.Join(t.TempDir(), "more")
	if err := os.WriteFile(more, []byte(`{kind: Config, apiVersion: v1, current-context: other, contexts: [{name: more, context: {cluster: data, namespace: merged}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig(t, "in-clear")+string(filepath.ListSeparator)+more)
	for name, tt := range map[string]struct {
		to              kube.Access
		host, namespace string
		err             error
	}{
		"hook":        {err: kube.ErrNoCluster},
		"by hand":     {to: kube.Access{LikeKubectl: true}, host: "http://127.0.0.1:8001", namespace: "default"},
		"merged":      {to: kube.Access{LikeKubectl: true, Context: "more"}, host: "https://api.example.com/prefix", namespace: "merged"},
		"context":     {to: kube.Access{Context: "files"}, host: "https://10.0.0.1:6443", namespace: "shop"},
		"a file wins": {to: kube.Access{LikeKubectl: true, Kubeconfig: kubeconfig(t, "data")}, host: "https://api.example.com/prefix", namespace: "default"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, namespace, err := kube.Config(tt.to)
			if !errors.Is(err, tt.err) {
				t.Fatalf("err %v, want %v", err, tt.err)
			}
			if err == nil && (cfg.Host != tt.host || namespace != tt.namespace) {
				t.Errorf("host %s, namespace %q", cfg.Host, namespace)
			}
		})
	}
	for _, none := range []string{filepath.Join(t.TempDir(), "nosuch"), os.DevNull} {
		t.Setenv("KUBECONFIG", none)
		if _, _, err := kube.Config(kube.Access{LikeKubectl: true}); !errors.Is(err, kube.ErrNoCluster) {
			t.Errorf("%s: %v", none, err)
		}
	}
}

func TestKubeconfigProxy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(`{current-context: a, contexts: [{name: a, context: {cluster: c}}],
clusters: [{name: c, cluster: {server: "https://10.0.0.1", proxy-url: "http://me:s3cret@proxy:3128"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := kube.Config(kube.Access{Kubeconfig: path})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := cfg.Proxy(nil); err != nil || u.Host != "proxy:3128" {
		t.Errorf("proxy %v, %v", u, err)
	}
}
