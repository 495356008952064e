package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"lull/testdata/cluster/node"
)

// scene is what a scenario has to itself: a namespace, in which lull is allowed what its README
// says it needs.
type scene struct {
	*testing.T
	node   *node.Node
	client kubernetes.Interface
	ns     string
	fake   string // name of the scene's fake node, if it has one

	mu      sync.Mutex
	pods    map[string]*corev1.Pod // newest sight of each, also of those that are gone
	wanted  map[string]time.Time   // when each one's deletion was asked for, to the second where somebody else did
	deleted map[string]time.Time   // when each was first seen being deleted
	gone    map[string]time.Time
	passed  []string // pods whose hook must not have failed
}

// newScene makes a namespace for the test and removes it afterwards.
func newScene(t *testing.T) *scene {
	t.Helper()
	n := cluster(t)
	s := &scene{T: t, node: n, client: n.Client, pods: map[string]*corev1.Pod{}, wanted: map[string]time.Time{}, deleted: map[string]time.Time{}, gone: map[string]time.Time{}}
	ns, err := s.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: namespaceName(t.Name())}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.ns = ns.Name
	// Registered first, so last to run: t.Context is done by then.
	t.Cleanup(s.remove)
	s.watch()
	s.allow("default")
	return s
}

func namespaceName(test string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(strings.TrimPrefix(test, "Test")))
	return strings.Trim(name[:min(len(name), 40)], "-") + "-"
}

// remove deletes the namespace with all that is in it, at once.
func (s *scene) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if s.Failed() {
		s.dump()
	}
	s.mu.Lock()
	passed := s.passed
	s.mu.Unlock()
	for _, pod := range passed {
		if s.failedHook(ctx, pod) {
			s.Errorf("%s: the kubelet says that the hook failed", pod)
		}
	}
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := s.client.CoreV1().Namespaces().Delete(ctx, s.ns, metav1.DeleteOptions{}); err != nil {
		s.Errorf("delete namespace %s: %v", s.ns, err)
	}
	for ctx.Err() == nil {
		list, err := s.client.CoreV1().Pods(s.ns).List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) == 0 {
			return
		}
		_ = s.client.CoreV1().Pods(s.ns).DeleteCollection(ctx, now, metav1.ListOptions{})
		time.Sleep(200 * time.Millisecond)
	}
	s.Errorf("pods of namespace %s are still there", s.ns)
}

// dump shows what the pods said.
func (s *scene) dump() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.pods)) {
		var b strings.Builder
		lines := s.node.PodLog(s.ns, name, "app")
		for _, l := range lines[max(0, len(lines)-30):] {
			fmt.Fprintf(&b, "\n  %s %s", l.Time.Format("05.000"), l.Text)
		}
		s.Logf("%s: deleted %s gone %s%s", name, clock(s.deleted[name]), clock(s.gone[name]), b.String())
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("05.000")
}

// watch keeps pods, deleted and gone up to date.
func (s *scene) watch() {
	factory := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithNamespace(s.ns))
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { s.see(o, false) },
		UpdateFunc: func(_, o any) { s.see(o, false) },
		DeleteFunc: func(o any) { s.see(o, true) },
	})
	if err != nil {
		s.Fatal(err)
	}
	stop := make(chan struct{})
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	s.Cleanup(func() {
		close(stop)
		factory.Shutdown()
	})
}

func (s *scene) see(object any, gone bool) {
	now := time.Now()
	if tomb, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tomb.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[pod.Name] = pod
	if pod.DeletionTimestamp != nil && s.deleted[pod.Name].IsZero() {
		s.deleted[pod.Name] = now
		if grace := pod.DeletionGracePeriodSeconds; grace != nil && s.wanted[pod.Name].IsZero() {
			s.wanted[pod.Name] = pod.DeletionTimestamp.Add(-time.Duration(*grace) * time.Second)
		}
	}
	if gone {
		s.gone[pod.Name] = now
	}
}

// allow gives a service account what lull needs, and what it can use besides: Services.
func (s *scene) allow(account string) {
	s.Helper()
	rbac := s.client.RbacV1()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "lull-" + account}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"get"}},
	}}
	if _, err := rbac.Roles(s.ns).Create(s.Context(), role, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: role.ObjectMeta,
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: s.ns}},
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: role.Name},
	}
	if _, err := rbac.RoleBindings(s.ns).Create(s.Context(), binding, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	// A pod is refused as long as its account is not there.
	s.until(slow, "service account "+account, func() error {
		_, err := s.client.CoreV1().ServiceAccounts(s.ns).Get(s.Context(), account, metav1.GetOptions{})
		return err
	})
}

// account makes a service account that may do nothing.
func (s *scene) account(name string) {
	s.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := s.client.CoreV1().ServiceAccounts(s.ns).Create(s.Context(), account, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// refuseServices takes back the right to get Services, which lull can do without. It has been given
// to the account "default" last.
func (s *scene) refuseServices() {
	s.Helper()
	patch := []byte(`[{"op": "remove", "path": "/rules/2"}]`)
	role, err := s.client.RbacV1().Roles(s.ns).Patch(s.Context(), "lull-default", types.JSONPatchType, patch, metav1.PatchOptions{})
	if err != nil {
		s.Fatal(err)
	}
	for _, rule := range role.Rules {
		if slices.Contains(rule.Resources, "services") {
			s.Fatal("the Role still has services")
		}
	}
}

// slow is how long to wait for what Kubernetes does by itself. It is seconds, but after an outage.
const slow = 3 * time.Minute

// until polls until ready returns nil, and fails the test after limit.
func (s *scene) until(limit time.Duration, what string, ready func() error) {
	s.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := ready()
		switch {
		case err == nil:
			return
		case time.Now().After(deadline):
			s.Fatalf("%s: not after %s: %v", what, limit, err)
		case s.Context().Err() != nil:
			s.Fatalf("%s: %v", what, s.Context().Err())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// delete deletes a pod and returns when it was asked for.
func (s *scene) delete(pod string, grace ...int64) time.Time {
	s.Helper()
	var o metav1.DeleteOptions
	if len(grace) > 0 {
		o.GracePeriodSeconds = &grace[0]
	}
	at := time.Now()
	s.mu.Lock()
	s.wanted[pod] = at
	s.mu.Unlock()
	if err := s.client.CoreV1().Pods(s.ns).Delete(s.Context(), pod, o); err != nil {
		s.Fatal(err)
	}
	return at
}

// asked is when a pod's deletion was asked for; zero for a pod that is not being deleted. No hook can
// have begun before, but that of a restart.
func (s *scene) asked(pod string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted[pod]
}

// deletedPods lists the pods that were deleted so far.
func (s *scene) deletedPods() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.deleted))
}

// waitGone waits until the pods are gone from the API.
func (s *scene) waitGone(limit time.Duration, pods ...string) {
	s.Helper()
	for _, pod := range pods {
		s.until(limit, "the end of pod "+pod, func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.gone[pod].IsZero() {
				return fmt.Errorf("phase %s", s.pods[pod].Status.Phase)
			}
			return nil
		})
	}
}
