package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lull/testdata/cluster/figures"
	"lull/testdata/cluster/load/report"
	"lull/testdata/cluster/node"
)

// way is a way to put lull into an app that runs without it.
type way struct {
	name   string
	put    func(*scene) // has the app's Deployment roll out
	mounts bool         // lull's image is a volume
}

// ways are those of the examples. The app is kustomize/web.yaml.
var ways = []way{
	{name: "policy", put: func(s *scene) {
		s.rights()
		s.policy(nil)
		s.restart("app")
	}},
	{name: "patch, init container", put: func(s *scene) {
		s.rights()
		s.patchDeployment("app", "patch/init-container.yaml")
	}},
	{name: "kustomize component", put: func(s *scene) { s.apply(s.kustomized()) }},
	{name: "COPY in the image", put: func(s *scene) { s.apply(s.example("deployment.yaml")) }},
	{name: "patch, image volume", mounts: true, put: func(s *scene) {
		s.rights()
		s.patchDeployment("app", "patch/image-volume.yaml")
	}},
}

// wayIn is what a way's rolling updates came to.
type wayIn struct {
	Way           string
	Runtime       string
	First, Second report.Report // while the old pods have no hook yet, and when they have
	Starts        []float64     // seconds, sorted
	QoS           corev1.PodQOSClass
}

// TestWaysIn: an app without lull under load, lull put in as the examples say, and a rolling update
// with it, in which no request is lost. The first rolling update, in which lull comes, still loses.
func TestWaysIn(t *testing.T) {
	var all []wayIn
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			if w.mounts {
				mountingNode(t)
			}
			s := newScene(t)
			s.forbid("default")
			s.apply(s.example("kustomize/web.yaml"))
			s.waitRollout("app")
			if len(all) == 0 || w.mounts {
				all = append(all, wayIn{Way: "none", Runtime: s.runtime(), Starts: s.starts("app", 3), QoS: corev1.PodQOSBestEffort})
			}
			all = append(all, w.run(s))
			if w.mounts {
				s.checkMounted("app")
				t.Run("the policy's", policyMounts)
			}
		})
	}
	saveFigures(t, "ways", all, waysTable(all), "")
}

func (w way) run(s *scene) wayIn {
	s.Helper()
	x := wayIn{Way: w.name, Runtime: s.runtime()}
	// The second load has other addresses. For two minutes conntrack leads a connection that uses an
	// address and port of the first again to the pod that had gone (nf_conntrack_tcp_timeout_syn_sent).
	x.First, _ = s.underLoad("app", node.Clients, func() { w.put(s) })
	var old []string
	x.Second, old = s.underLoad("app", node.OtherClients, func() { s.restart("app") })
	s.Logf("%s: the rolling update that brings lull: %s; the next: %s", w.name, x.First, x.Second)
	if x.Second.Failed > 0 {
		s.Errorf("%d requests failed, the first: %+v", x.Second.Failed, x.Second.Failures[0])
	}
	for _, pod := range old {
		e := s.end(pod)
		s.check(e, 0, window, letGo+window+prompt)
		if !e.has("left") || e.has("missing") {
			s.Errorf("%s: lull has not seen everything: the rights of the examples do not do", pod)
		}
	}
	x.Starts = s.starts("app", 3)
	s.mu.Lock()
	defer s.mu.Unlock()
	x.QoS = s.pods[old[0]].Status.QOSClass
	return x
}

// letGo is how long the clients of underLoad keep a connection.
const letGo = 2 * time.Second

// underLoad changes a Deployment under load and returns once its old pods are gone: what the load
// found, and the old pods.
func (s *scene) underLoad(app, from string, change func()) (report.Report, []string) {
	s.Helper()
	service, err := s.client.CoreV1().Services(s.ns).Get(s.Context(), app, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	load := s.load("-target", s.answers(service), "-from", from, "-rate", "200", "-keepalive", "20", "-renew", letGo.String())
	time.Sleep(time.Second) // so that the change meets the load at its full height
	old := s.live(app)
	change()
	s.waitRollout(app)
	s.waitGone(90*time.Second, old...)
	return s.stop(load), old
}

// rights gives the namespace's accounts what the examples say.
func (s *scene) rights() {
	s.Helper()
	s.apply(s.example("rbac/clusterroles.yaml"))
	s.apply(s.example("rbac/rolebinding.yaml"))
}

// forbid takes from an account what newScene has allowed it.
func (s *scene) forbid(account string) {
	s.Helper()
	if err := s.client.RbacV1().RoleBindings(s.ns).Delete(s.Context(), "lull-"+account, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
}

// starts makes n pods like those of a Deployment, one after the other, and returns how long each took
// from its creation until its app listened, sorted.
func (s *scene) starts(app string, n int) (took []float64) {
	s.Helper()
	d, err := s.client.AppsV1().Deployments(s.ns).Get(s.Context(), app, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	for range n {
		at := time.Now()
		p, err := s.client.CoreV1().Pods(s.ns).Create(s.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "start-", Annotations: d.Spec.Template.Annotations}, Spec: d.Spec.Template.Spec,
		}, metav1.CreateOptions{})
		if err != nil {
			s.Fatal(err)
		}
		s.until(slow, "the start of pod "+p.Name, func() error {
			for _, l := range s.lines(p.Name) {
				if l.Msg == "listening" {
					took = append(took, l.At.Sub(at).Seconds())
					return nil
				}
			}
			return errors.New("it does not listen yet")
		})
		s.delete(p.Name, 0)
		s.waitGone(time.Minute, p.Name)
	}
	slices.Sort(took)
	return took
}

func waysTable(all []wayIn) string {
	var rows [][]string
	for _, x := range all {
		start := "-"
		if n := len(x.Starts); n > 0 {
			start = fmt.Sprintf("%.2f s (%.2f-%.2f)", x.Starts[n/2], x.Starts[0], x.Starts[n-1])
		}
		rows = append(rows, []string{x.Way, x.Runtime, lost(x.First), lost(x.Second), start, string(x.QoS)})
	}
	return figures.Table([]string{"way in", "container runtime", "lost while it comes", "lost with it", "pod start: median (least-most)", "QoS class"}, rows)
}

func lost(r report.Report) string {
	if r.Total() == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", r.Failed, r.Total())
}
