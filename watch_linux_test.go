package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"lull/testdata/ownnet"
	"lull/wait"
)

// TestWatchTellsProbes has a kubelet and a client call the pod, and lull watch told which is which.
// The node's address is one of loopback here.
func TestWatchTellsProbes(t *testing.T) {
	if !ownnet.Own {
		t.Skip("needs a network namespace of its own")
	}
	t.Parallel()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	cluster := newTestCluster()
	cluster.pod().Status.HostIPs = []corev1.HostIP{{IP: "127.0.0.9"}}
	cluster.app().Ports[0].ContainerPort = int32(port)
	cluster.app().ReadinessProbe.PeriodSeconds = 2
	cluster.slice().Ports[0].Port = new(int32(port))

	kubeconfig := cluster.serve(t)
	for range 5 {
		if w := startWatch(t, kubeconfig); w.tells(t, port) {
			return
		}
		t.Log("again: a step came late")
	}
	t.Error("a step came late in each try")
}

// watchProcess is lull watch.
type watchProcess struct {
	*exec.Cmd
	lines *bufio.Scanner
}

func startWatch(t *testing.T, kubeconfig string) *watchProcess {
	t.Helper()
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Args = []string{"lull", "watch", "--format", "json", "--kubeconfig", kubeconfig, "--pod", "web-0"}
	c.Env = []string{"KUBERNETES_SERVICE_HOST=127.0.0.1", "POD_NAME=web-0"}
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return &watchProcess{c, bufio.NewScanner(out)}
}

// next reads up to the next event of a name.
func (w *watchProcess) next(t *testing.T, name string) map[string]any {
	t.Helper()
	for w.lines.Scan() {
		var event map[string]any
		if err := json.Unmarshal(w.lines.Bytes(), &event); err != nil {
			t.Fatalf("%v: %s", err, w.lines.Text())
		}
		if event["event"] == name {
			return event
		}
	}
	t.Fatalf("no %s", name)
	return nil
}

// tells calls the port as a kubelet whose probe has a period of 2 s, and as a client in between. It
// reports whether each call came on time: what is late is rightly taken for something else.
func (w *watchProcess) tells(t *testing.T, port int) bool {
	t.Helper()
	defer func() { _ = w.Wait() }()
	defer w.Process.Kill()
	w.next(t, "service") // from here on it knows the pod
	var first time.Time
	for i, whose := range []string{"probe", "client", "probe"} { // at 1 s no probe is due
		due := first.Add(time.Duration(i) * time.Second)
		if i > 0 {
			time.Sleep(time.Until(due))
		} else {
			due = time.Now()
		}
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}}).Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = time.Now()
		}
		peer := conn.LocalAddr().String()
		conn.Close()
		if time.Since(due) > 100*time.Millisecond {
			return false
		}
		e := w.next(t, "arrival")
		for e["kind"] == wait.Request.String() { // the end of the one before, where a look came in between
			e = w.next(t, "arrival")
		}
		if e["whose"] != whose || e["peer"] != peer {
			t.Errorf("from %s: %v, want %s", peer, e, whose)
		}
	}
	if err := w.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if e := w.next(t, "summary"); e["probes"] != 2.0 || e["connections"] != 1.0 || e["clients"] != 1.0 {
		t.Errorf("%v", e)
	}
	if err := w.Wait(); err != nil {
		t.Error(err)
	}
	return true
}
