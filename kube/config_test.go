package kube_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"lull/kube"
	"lull/testdata/apiserver"
)

func TestConfigOutsideOfACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
	t.Setenv("KUBECONFIG", "/nonexistent")
	if _, _, err := kube.Config(kube.Access{}); !errors.Is(err, kube.ErrNoCluster) {
		t.Errorf("err %v", err)
	}
}

func TestConfigWithoutToken(t *testing.T) {
	if _, err := os.Stat("/var/run/secrets/kubernetes.io/serviceaccount/token"); err == nil {
		t.Skip("needs a machine without a service account token: this one is a pod")
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "1")
	_, _, err := kube.Config(kube.Access{})
	if err == nil || errors.Is(err, kube.ErrNoCluster) || !strings.Contains(err.Error(), "no service account token") {
		t.Errorf("err %v", err)
	}
}

// A kubeconfig leads to a watch, its namespace to the caller.
func TestConfigFromKubeconfig(t *testing.T) {
	for name, user := range map[string]string{
		"token file": "{tokenFile: token}",
		"plugin":     "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, interactiveMode: Never}}",
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := rotating(t)
			dir := t.TempDir()
			write := func(name, text string, mode os.FileMode) string {
				t.Helper()
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
				return path
			}
			write("token", apiserver.Token, 0o600)
			write("plugin", `#!/bin/sh
echo '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "`+apiserver.Token+`"}}'
`, 0o700)
			ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
			path := write("config", fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: here
contexts:
- {name: here, context: {cluster: c, user: u}}
clusters:
- {name: c, cluster: {server: %q, certificate-authority-data: %s}}
users:
- {name: u, user: %s}
`, s.URL, ca, user), 0o600)
			cfg, namespace, err := kube.Config(kube.Access{Kubeconfig: path})
			if err != nil {
				t.Fatal(err)
			}
			if namespace != "default" {
				t.Errorf("namespace %q", namespace)
			}
			await(t, watching(t, cfg, me, kube.Options{}), "known", known)
		})
	}
}

func TestConfigFromBadKubeconfig(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"missing":    "",
		"empty":      "\n",
		"not yaml":   "\t{{",
		"other kind": "apiVersion: v1\nkind: Pod\n",
		"no context": "apiVersion: v1\nkind: Config\ncurrent-context: nosuch\n",
		"no server":  "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if text != "" {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg, _, err := kube.Config(kube.Access{Kubeconfig: path})
			if err == nil {
				t.Fatalf("took %v", cfg.Host)
			}
			if errors.Is(err, kube.ErrNoCluster) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "kubeconfig") {
				t.Errorf("err %q", err)
			}
		})
	}
}

func TestNewWatcherRefusesWhatCannotWork(t *testing.T) {
	good := &rest.Config{Host: "https://127.0.0.1:1"}
	for name, tt := range map[string]struct {
		cfg *rest.Config
		id  kube.Identity
	}{
		"no configuration": {nil, me},
		"no namespace":     {good, kube.Identity{Name: "web-1"}},
		"nobody":           {good, kube.Identity{Namespace: "default"}},
		"no address":       {&rest.Config{Host: "https://user:secret@[::1"}, me},
		"no certificate":   {&rest.Config{Host: "https://127.0.0.1:1", TLSClientConfig: rest.TLSClientConfig{CAFile: "/nonexistent"}}, me},
	} {
		w, err := kube.NewWatcher(tt.cfg, tt.id, kube.Options{})
		if err == nil || w != nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
