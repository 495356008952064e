package cluster

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"lull/testdata/cluster/node"
)

// hook is a preStop hook.
type hook struct {
	name    string
	command []string // exec
	sleep   int64    // native sleep, seconds
}

func (h hook) lifecycle() *corev1.Lifecycle {
	switch {
	case h.command != nil:
		return &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: h.command}}}
	case h.sleep > 0:
		return &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: h.sleep}}}
	}
	return nil
}

var (
	noHook   = hook{name: "no hook"}
	lullHook = lull()
	// drainHook has the app let its clients go.
	drainHook = hook{name: "lull --drain=HUP", command: []string{"/lull", "--drain=HUP"}}
)

// lull is the hook with flags.
func lull(flags ...string) hook {
	return hook{name: "lull", command: append([]string{"/lull"}, flags...)}
}

func sleep(seconds int64) hook { return hook{name: fmt.Sprintf("sleep %d", seconds), sleep: seconds} }

// workload is an app as a scenario wants it.
type workload struct {
	name     string // "" for "app"
	replicas int32  // 0 for 1
	args     []string
	hook     hook
	grace    int64 // 0 for 30
	change   func(*corev1.PodSpec)
}

func (w workload) id() string {
	if w.name == "" {
		return "app"
	}
	return w.name
}

func (w workload) labels() map[string]string { return map[string]string{"app": w.id()} }

// spec is the pod's: probed every second, everything else as small as can be.
func (w workload) spec() corev1.PodSpec {
	grace := w.grace
	if grace == 0 {
		grace = 30
	}
	spec := corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		EnableServiceLinks:            new(bool),
		Containers: []corev1.Container{{
			Name: "app", Image: node.AppImage, ImagePullPolicy: corev1.PullNever, Args: w.args,
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
				HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}}},
			Lifecycle: w.hook.lifecycle(),
		}},
	}
	if w.change != nil {
		w.change(&spec)
	}
	return spec
}

// deploy makes a Deployment and waits until all of it is ready.
func (s *scene) deploy(w workload) {
	s.Helper()
	replicas := max(1, w.replicas)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: w.id()}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas,
		Selector: &metav1.LabelSelector{MatchLabels: w.labels()},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.labels()}, Spec: w.spec()},
	}}
	if _, err := s.client.AppsV1().Deployments(s.ns).Create(s.Context(), d, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.waitRollout(w.id())
}

// pod makes a pod without a Deployment and waits until it is ready.
func (s *scene) pod(w workload) string {
	s.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: w.id(), Labels: w.labels()}, Spec: w.spec()}
	if _, err := s.client.CoreV1().Pods(s.ns).Create(s.Context(), p, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.waitPod(w.id())
	return w.id()
}

func (s *scene) waitPod(name string) {
	s.Helper()
	s.until(slow, "a ready pod "+name, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		p := s.pods[name]
		if p == nil || !ready(p) {
			return errors.New("not ready")
		}
		return nil
	})
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// live lists the pods of a workload that are not being deleted.
func (s *scene) live(app string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, p := range s.pods {
		if p.Labels["app"] == app && p.DeletionTimestamp == nil && s.gone[name].IsZero() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// restart does what `kubectl rollout restart` does.
func (s *scene) restart(name string) {
	s.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := s.client.AppsV1().Deployments(s.ns).Patch(s.Context(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		s.Fatal(err)
	}
}

// waitRollout does what `kubectl rollout status` does.
func (s *scene) waitRollout(name string) {
	s.Helper()
	s.until(slow, "rollout of "+name, func() error {
		d, err := s.client.AppsV1().Deployments(s.ns).Get(s.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want, have := *d.Spec.Replicas, d.Status
		if have.ObservedGeneration < d.Generation || have.UpdatedReplicas < want || have.Replicas > have.UpdatedReplicas || have.AvailableReplicas < want {
			return fmt.Errorf("%d of %d updated, %d available, %d in all", have.UpdatedReplicas, want, have.AvailableReplicas, have.Replicas)
		}
		return nil
	})
}

// expose makes a Service for the workload's port, in both families, and waits until it answers. It
// returns the address of the first family.
func (s *scene) expose(service, app string, change ...func(*corev1.ServiceSpec)) (address string) {
	s.Helper()
	return s.answers(s.service(service, app, change...))
}

// service makes a Service.
func (s *scene) service(name, app string, change ...func(*corev1.ServiceSpec)) *corev1.Service {
	s.Helper()
	both := corev1.IPFamilyPolicyRequireDualStack
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": app}, IPFamilyPolicy: &both, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
	}}
	for _, c := range change {
		c(&o.Spec)
	}
	made, err := s.client.CoreV1().Services(s.ns).Create(s.Context(), o, metav1.CreateOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return made
}

// answers waits until a Service does, and returns its address in the first family.
func (s *scene) answers(made *corev1.Service) (address string) {
	s.Helper()
	if made.Spec.ClusterIP == corev1.ClusterIPNone {
		return ""
	}
	for _, ip := range made.Spec.ClusterIPs {
		s.reachable(net.JoinHostPort(ip, "80"))
	}
	return net.JoinHostPort(made.Spec.ClusterIP, "80")
}

// reachable waits until an address takes connections: kube-proxy follows the slices up to a second
// later.
func (s *scene) reachable(address string) {
	s.Helper()
	s.until(slow, "a connection to "+address, func() error {
		conn, err := s.node.Dial(s.Context(), "tcp", address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}
