package kube_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lull/kube"
	"lull/testdata/apiserver"
)

// fifo puts a FIFO that nobody writes to where a file was, or none.
func fifo(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// soon fails the test if something waits for a writer.
func soon(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it hangs")
	}
}

// Each file that a kubeconfig names may be a FIFO.
func TestKubeconfigNamesAFIFO(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"config", "token", "ca.crt", "me.crt", "keys/me.key"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := kubeconfig(t, "files")
			fifo(t, filepath.Join(filepath.Dir(path), name))
			soon(t, func() {
				_, _, err := kube.Config(kube.Access{Kubeconfig: path})
				if err == nil || !strings.Contains(err.Error(), name+" is no regular file") {
					t.Errorf("err %v", err)
				}
			})
		})
	}
}

func TestWatcherRefusesAFIFO(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca.crt")
	fifo(t, path)
	cfg := newAPIServer(t).Config()
	cfg.CAData, cfg.CAFile = nil, path
	soon(t, func() {
		if _, err := kube.NewWatcher(cfg, me, kube.Options{}); err == nil || !strings.Contains(err.Error(), "is no regular file") {
			t.Errorf("err %v", err)
		}
	})
}

// Where the token's file becomes a FIFO, the last token is sent.
func TestWatcherReadsNoTokenFromAFIFO(t *testing.T) {
	t.Parallel()
	s, flip := rotating(t)
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(apiserver.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := s.Config()
	cfg.BearerTokenFile = path
	w := watching(t, cfg, me, kube.Options{})
	await(t, w, "known", known)
	fifo(t, path)
	s.BreakWatches()
	flip(false)
	await(t, w, "out of rotation", inRotation(false))
}

func TestIdentifyReadsNoFIFO(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	fifo(t, filepath.Join(root, "var/run/secrets/kubernetes.io/serviceaccount/namespace"))
	soon(t, func() {
		id, err := kube.Identify(kube.Sources{Root: root, Hostname: "web-1", Getenv: func(name string) string {
			return map[string]string{"POD_NAMESPACE": "default"}[name]
		}})
		if err != nil || id.Namespace != "default" {
			t.Errorf("%+v, %v", id, err)
		}
	})
}
