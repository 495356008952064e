package cluster

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// container is one of a pod's, with a hook.
func container(name string, preStop *corev1.LifecycleHandler) corev1.Container {
	c := corev1.Container{Name: name, Image: "registry.example/" + name}
	if preStop != nil {
		c.Lifecycle = &corev1.Lifecycle{PreStop: preStop}
	}
	return c
}

func runs(command ...string) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: command}}
}

func sleeps(seconds int64) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds}}
}

func asks() *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/drain", Port: intstr.FromInt32(80)}}
}

// pod is one that is not made by a controller.
func pod(containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "try"}, Spec: corev1.PodSpec{Containers: containers}}
}

func plain() *corev1.Pod { return pod(container("web", nil)) }

// with changes a pod.
func with(p *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod {
	change(p)
	return p
}

// labelled is a plain pod with the policy's label.
func labelled(value string) *corev1.Pod {
	return with(plain(), func(p *corev1.Pod) { p.Labels = map[string]string{"lull-injection": value} })
}

// withVolume is a pod in which one container of two has lull already, from this volume.
func withVolume(source corev1.VolumeSource) *corev1.Pod {
	return with(pod(container("web", runs(hookPath)), container("proxy", nil)), func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "lull", VolumeSource: source}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "lull", MountPath: "/opt/lull", ReadOnly: true}}
	})
}

// resources are requests and limits of CPU and memory.
func resources(requests, limits map[corev1.ResourceName]string) corev1.ResourceRequirements {
	list := func(amounts map[corev1.ResourceName]string) (l corev1.ResourceList) {
		for name, amount := range amounts {
			if l == nil {
				l = corev1.ResourceList{}
			}
			l[name] = resource.MustParse(amount)
		}
		return l
	}
	return corev1.ResourceRequirements{Requests: list(requests), Limits: list(limits)}
}

type amounts = map[corev1.ResourceName]string

// outcome is what the policy made of a pod.
type outcome struct {
	Hooks []string // a container's, in words
	Init  []string // names of init containers
	Grace int64
	QoS   corev1.PodQOSClass
}

func outcomeOf(p *corev1.Pod) (o outcome) {
	for _, c := range p.Spec.Containers {
		o.Hooks = append(o.Hooks, hookWords(c))
	}
	for _, c := range p.Spec.InitContainers {
		o.Init = append(o.Init, c.Name)
	}
	o.Grace, o.QoS = *p.Spec.TerminationGracePeriodSeconds, p.Status.QOSClass
	return o
}

func hookWords(c corev1.Container) string {
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
		return "none"
	}
	switch h := c.Lifecycle.PreStop; {
	case h.Exec != nil:
		return strings.Join(h.Exec.Command, " ")
	case h.Sleep != nil:
		return fmt.Sprintf("native sleep %d", h.Sleep.Seconds)
	}
	return "http"
}

// policyCase is a pod and what becomes of it in a namespace whose label is lull-injection=enabled.
// What is not said is as for plain: lull by the init container, 30 s, BestEffort.
type policyCase struct {
	name  string
	pod   *corev1.Pod
	hooks []string
	none  bool     // lull is not put in
	init  []string // empty: none; nil: lull's
	grace int64
	qos   corev1.PodQOSClass
	wants func(*corev1.Pod) string // what is wrong besides
}

const hookPath = "/opt/lull/lull"

var policyCases = []policyCase{
	{name: "plain", pod: plain(), hooks: []string{hookPath}},
	{name: "several", pod: pod(container("web", nil), container("proxy", nil)), hooks: []string{hookPath, hookPath}},
	{name: "a command goes on behind it", pod: pod(container("web", runs("/bin/app", "drain", "--now")), container("proxy", nil)),
		hooks: []string{hookPath + " -- /bin/app drain --now", hookPath}},
	{name: "a shell that does more than sleep", pod: pod(container("web", runs("sh", "-c", "sleep 5; nginx -s quit"))),
		hooks: []string{hookPath + " -- sh -c sleep 5; nginx -s quit"}},
	{name: "sleep stays", pod: pod(container("web", sleeps(5))), hooks: []string{"native sleep 5"}, none: true},
	{name: "sleep of one stays", pod: pod(container("web", nil), container("proxy", sleeps(5))), hooks: []string{hookPath, "native sleep 5"}},
	{name: "sleep commands stay", none: true,
		pod:   pod(container("a", runs("sleep", "5")), container("b", runs("/bin/sleep", "5s")), container("c", runs("/bin/sh", "-c", "sleep 5")), container("d", runs("bash", "-c", "exec /usr/bin/sleep 1.5"))),
		hooks: []string{"sleep 5", "/bin/sleep 5s", "/bin/sh -c sleep 5", "bash -c exec /usr/bin/sleep 1.5"}},
	{name: "sleep replaced where the pod says so", hooks: []string{hookPath, hookPath, hookPath + " -- /drain"},
		pod: with(pod(container("web", sleeps(5)), container("proxy", runs("sh", "-c", "sleep 5")), container("other", runs("/drain"))), func(p *corev1.Pod) {
			p.Labels = map[string]string{"lull-injection": "replace-sleep"}
		})},
	{name: "lull is there", none: true,
		pod:   pod(container("a", runs("/lull", "--quiet=8s")), container("b", runs("sh", "-c", "/usr/bin/lull && /drain"))),
		hooks: []string{"/lull --quiet=8s", "sh -c /usr/bin/lull && /drain"}},
	{name: "another program whose name has lull in it", pod: pod(container("web", runs("/bin/lullaby"))), hooks: []string{hookPath + " -- /bin/lullaby"}},
	{name: "a hook over HTTP stays", pod: pod(container("web", asks())), hooks: []string{"http"}, none: true},
	{name: "postStart stays", hooks: []string{hookPath},
		pod: with(plain(), func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: runs("/start")} }),
		wants: func(p *corev1.Pod) string {
			if p.Spec.Containers[0].Lifecycle.PostStart == nil {
				return "postStart is gone"
			}
			return ""
		}},
	{name: "native sidecar", hooks: []string{hookPath}, init: []string{"lull-install", "proxy"},
		pod: with(plain(), func(p *corev1.Pod) {
			always := corev1.ContainerRestartPolicyAlways
			c := container("proxy", nil)
			c.RestartPolicy = &always
			p.Spec.InitContainers = []corev1.Container{c}
		}),
		wants: func(p *corev1.Pod) string {
			if p.Spec.InitContainers[1].Lifecycle != nil {
				return "the sidecar has a hook"
			}
			return ""
		}},
	{name: "opted out", none: true, hooks: []string{"none"}, pod: labelled("disabled")},
	{name: "opted out by false", none: true, hooks: []string{"none"}, pod: labelled("false")},
	{name: "opted out by no", none: true, hooks: []string{"none"}, pod: labelled("no")},
	{name: "opted out by off", none: true, hooks: []string{"none"}, pod: labelled("off")},
	{name: "of a Job", none: true, hooks: []string{"none"},
		pod: with(plain(), func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "u"}}
		})},
	{name: "Windows", none: true, hooks: []string{"none"},
		pod: with(plain(), func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} })},
	{name: "Windows by selector", none: true, hooks: []string{"none"},
		pod: with(plain(), func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} })},
	{name: "no grace period", none: true, hooks: []string{"none"}, grace: -1,
		pod: with(plain(), func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64) })},
	{name: "a short grace period is raised", hooks: []string{hookPath}, grace: 15,
		pod: with(plain(), func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = seconds(5) })},
	{name: "a long one stays", hooks: []string{hookPath}, grace: 60,
		pod: with(plain(), func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = seconds(60) })},
	{name: "a short one stays without lull", none: true, hooks: []string{"native sleep 2"}, grace: 5,
		pod: with(pod(container("web", sleeps(2))), func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = seconds(5) })},
	{name: "Guaranteed", hooks: []string{hookPath}, qos: corev1.PodQOSGuaranteed,
		pod: with(plain(), func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources = resources(nil, amounts{"cpu": "200m", "memory": "64Mi"})
		})},
	{name: "Burstable, with a device", hooks: []string{hookPath}, qos: corev1.PodQOSBurstable,
		pod: with(plain(), func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources = resources(amounts{"cpu": "100m"}, amounts{"memory": "64Mi", "example.com/gpu": "1"})
		}),
		wants: func(p *corev1.Pod) string {
			r := p.Spec.InitContainers[0].Resources
			if _, device := r.Limits["example.com/gpu"]; device || r.Limits.Memory().String() != "64Mi" || r.Requests.Cpu().String() != "100m" {
				return fmt.Sprintf("the init container's resources are %v", r)
			}
			return ""
		}},
	{name: "another volume named lull", hooks: []string{"none"}, none: true, pod: with(plain(), func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "lull", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "c"}}}}}
	})},
	{name: "something else where lull goes", hooks: []string{"none"}, none: true, pod: with(plain(), func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/opt/lull"}}
	})},
	{name: "an image volume stays, and nothing is copied into it", hooks: []string{hookPath, hookPath}, init: []string{},
		pod: withVolume(corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "registry.example/lull:0.1.0"}}),
		wants: func(p *corev1.Pod) string {
			if len(p.Spec.Volumes) == 0 || p.Spec.Volumes[0].Image == nil || p.Annotations[localVolumes] != "" {
				return fmt.Sprintf("annotations %v, volumes %v", p.Annotations, p.Spec.Volumes)
			}
			return ""
		}},
	{name: "an emptyDir stays, and lull is copied into it", hooks: []string{hookPath, hookPath},
		pod: withVolume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})},
	{name: "what is there stays", hooks: []string{hookPath},
		pod: with(plain(), func(p *corev1.Pod) {
			p.Annotations = map[string]string{localVolumes: "data"}
			p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		}),
		wants: func(p *corev1.Pod) string {
			mounts := p.Spec.Containers[0].VolumeMounts
			if p.Annotations[localVolumes] != "data,lull" || len(p.Spec.Volumes) < 2 || mounts[0].Name != "data" {
				return fmt.Sprintf("annotations %v, volumes %v, mounts %v", p.Annotations, p.Spec.Volumes, mounts)
			}
			return ""
		}},
}

const localVolumes = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"

func seconds(n int64) *int64 { return &n }
