package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig is the file's format (client-go, tools/clientcmd/api/v1/types.go),
// as far as it says how to reach a server. That package, and clientcmd, would
// make the binary a quarter of a megabyte larger.
type kubeconfig struct {
	Kind           string `json:"kind"`
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster   string `json:"cluster"`
			User      string `json:"user"`
			Namespace string `json:"namespace"`
		} `json:"context"`
	} `json:"contexts"`
	Clusters []struct {
		Name    string      `json:"name"`
		Cluster clusterInfo `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		Name string   `json:"name"`
		User userInfo `json:"user"`
	} `json:"users"`
}

type clusterInfo struct {
	Server             string `json:"server"`
	ServerName         string `json:"tls-server-name"`
	Insecure           bool   `json:"insecure-skip-tls-verify"`
	CAFile             string `json:"certificate-authority"`
	CAData             []byte `json:"certificate-authority-data"`
	ProxyURL           string `json:"proxy-url"`
	DisableCompression bool   `json:"disable-compression"`
	Extensions         []struct {
		Name      string          `json:"name"`
		Extension json.RawMessage `json:"extension"`
	} `json:"extensions"`
}

type userInfo struct {
	CertFile  string              `json:"client-certificate"`
	CertData  []byte              `json:"client-certificate-data"`
	KeyFile   string              `json:"client-key"`
	KeyData   []byte              `json:"client-key-data"`
	Token     string              `json:"token"`
	TokenFile string              `json:"tokenFile"`
	Username  string              `json:"username"`
	Password  string              `json:"password"`
	As        string              `json:"as"`
	AsUID     string              `json:"as-uid"`
	AsGroups  []string            `json:"as-groups"`
	AsExtra   map[string][]string `json:"as-user-extra"`
	Exec      *api.ExecConfig     `json:"exec"`
	// AuthProvider was replaced by Exec; client-go knows of none but oidc.
	AuthProvider json.RawMessage `json:"auth-provider"`
}

// maxKubeconfig is more than any has, with certificates and all.
const maxKubeconfig = 8 << 20

// readKubeconfig reads one file: its current context, without overrides and
// without merging others in.
func readKubeconfig(path string) (*rest.Config, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKubeconfig))
	if err != nil {
		return nil, "", err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, "", err
	}
	return parseKubeconfig(text, dir)
}

// parseKubeconfig takes the files that the text names as relative to dir. The
// namespace is "default" if the context names none, as for kubectl.
func parseKubeconfig(text []byte, dir string) (cfg *rest.Config, namespace string, err error) {
	var file kubeconfig
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, "", fmt.Errorf("not a kubeconfig: %w", err)
	}
	if file.Kind != "" && file.Kind != "Config" {
		return nil, "", fmt.Errorf("kind is %q, not Config", short(file.Kind))
	}
	if file.CurrentContext == "" {
		return nil, "", errors.New("no current-context")
	}
	for _, c := range file.Contexts {
		if c.Name != file.CurrentContext {
			continue
		}
		if namespace = c.Context.Namespace; namespace == "" {
			namespace = "default"
		}
		cfg, err = file.restConfig(c.Context.Cluster, c.Context.User, dir)
		return cfg, namespace, err
	}
	return nil, "", fmt.Errorf("current-context %q is none of its contexts", short(file.CurrentContext))
}

func (k *kubeconfig) restConfig(cluster, user, dir string) (*rest.Config, error) {
	var at clusterInfo
	for _, c := range k.Clusters {
		if c.Name == cluster {
			at = c.Cluster
		}
	}
	if at.Server == "" {
		return nil, fmt.Errorf("cluster %q has no server", short(cluster))
	}
	cfg := &rest.Config{Host: at.Server, DisableCompression: at.DisableCompression}
	if at.ProxyURL != "" {
		proxy, err := url.Parse(at.ProxyURL)
		if err != nil || proxy.Host == "" {
			return nil, errors.New("proxy-url is no URL") // it may hold a password
		}
		cfg.Proxy = http.ProxyURL(proxy)
	}
	if !rest.IsConfigTransportTLS(*cfg) {
		return cfg, nil // nobody's credentials in the clear
	}
	cfg.TLSClientConfig = rest.TLSClientConfig{
		Insecure: at.Insecure, ServerName: at.ServerName,
		CAFile: beside(dir, at.CAFile), CAData: at.CAData,
	}
	for _, u := range k.Users {
		if u.Name == user {
			return cfg, u.User.authenticate(cfg, &at, dir)
		}
	}
	if user != "" {
		return nil, fmt.Errorf("user %q is none of its users", short(user))
	}
	return cfg, nil
}

func (u *userInfo) authenticate(cfg *rest.Config, at *clusterInfo, dir string) error {
	if len(u.AuthProvider) > 0 && string(u.AuthProvider) != "null" {
		return errors.New("auth-provider is not supported: use an exec plugin")
	}
	cfg.CertFile, cfg.CertData = beside(dir, u.CertFile), u.CertData
	cfg.KeyFile, cfg.KeyData = beside(dir, u.KeyFile), u.KeyData
	cfg.Username, cfg.Password = u.Username, u.Password
	cfg.BearerToken, cfg.BearerTokenFile = u.Token, beside(dir, u.TokenFile)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: u.As, UID: u.AsUID, Groups: u.AsGroups, Extra: u.AsExtra}
	if u.Exec == nil {
		return nil
	}
	// A program that prints credentials, as the big clouds have it.
	plugin := u.Exec
	plugin.InstallHint = oneLine(plugin.InstallHint)
	if strings.ContainsRune(plugin.Command, filepath.Separator) {
		plugin.Command = beside(dir, plugin.Command)
	}
	// client-go, tools/clientcmd/api/v1/defaults.go: v1 must say which.
	if plugin.InteractiveMode == "" && strings.HasSuffix(plugin.APIVersion, "beta1") {
		plugin.InteractiveMode = api.IfAvailableExecInteractiveMode
	}
	for _, e := range at.Extensions {
		if e.Name == "client.authentication.k8s.io/exec" {
			plugin.Config = &runtime.Unknown{Raw: e.Extension, ContentType: runtime.ContentTypeJSON}
		}
	}
	cfg.ExecProvider = plugin
	return nil
}

// beside is where a file is that a kubeconfig in dir names.
func beside(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
