package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// policy applies the policy, its ConfigMap changed, to the scene's namespace, and waits until it has
// an effect.
func (s *scene) policy(config map[string]string) {
	s.Helper()
	s.apply(s.example("policy/config.yaml"))
	s.apply(s.example("policy/policy.yaml"))
	s.configure(config)
	s.label("enabled")
	s.until(slow, "the policy", func() error {
		if p := s.dry(plain()); !installed(p) {
			return errors.New("without effect")
		}
		return nil
	})
}

// configure changes the policy's ConfigMap.
func (s *scene) configure(config map[string]string) {
	s.Helper()
	if len(config) == 0 {
		return
	}
	maps := s.client.CoreV1().ConfigMaps("lull")
	now, err := maps.Get(s.Context(), "lull", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	for name, value := range config {
		now.Data[name] = value
	}
	if _, err := maps.Update(s.Context(), now, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// label gives the namespace the policy's label, and others.
func (s *scene) label(value string, more ...string) {
	s.Helper()
	patch := fmt.Appendf(nil, `{"metadata": {"labels": {"lull-injection": %q%s}}}`, value, strings.Join(more, ""))
	if _, err := s.client.CoreV1().Namespaces().Patch(s.Context(), s.ns, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		s.Fatal(err)
	}
}

// dry creates a pod without making it and returns what it would be.
func (s *scene) dry(pod *corev1.Pod) *corev1.Pod {
	s.Helper()
	made, err := s.tryDry(pod)
	if err != nil {
		s.Fatal(err)
	}
	return made
}

func (s *scene) tryDry(pod *corev1.Pod) (*corev1.Pod, error) {
	return s.client.CoreV1().Pods(s.ns).Create(s.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

// installed reports whether a pod has lull by an init container or an image volume.
func installed(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "lull" && (v.EmptyDir != nil || v.Image != nil) })
}

// check creates the case's pod, for show.
func (c policyCase) check(t *testing.T, s *scene) {
	t.Helper()
	got, err := s.tryDry(c.pod)
	if err != nil {
		t.Fatal(err)
	}
	want := outcome{Hooks: c.hooks, Init: c.init, Grace: c.grace, QoS: c.qos}
	if want.Init == nil && !c.none {
		want.Init = []string{"lull-install"}
	}
	switch want.Grace {
	case 0:
		want.Grace = 30
	case -1:
		want.Grace = 0
	}
	if want.QoS == "" {
		want.QoS = corev1.PodQOSBestEffort
	}
	if diff := cmp.Diff(want, outcomeOf(got), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if installed(got) == c.none {
		t.Errorf("it has the volume: %t, want %t", installed(got), !c.none)
	}
	if c.wants != nil {
		if wrong := c.wants(got); wrong != "" {
			t.Error(wrong)
		}
	}
}

// TestPolicy: what the policy of the examples makes of pods. The API server answers; no pod is made.
func TestPolicy(t *testing.T) {
	s := newScene(t)
	if p := s.dry(plain()); !untouched(p) {
		t.Fatal("lull is in a pod without the policy")
	}
	s.policy(nil)
	for _, c := range policyCases {
		t.Run(c.name, func(t *testing.T) { c.check(t, s) })
	}
	s.checkQuota()
	s.checkLimitRange()
	s.checkOthers()
	s.checkRestricted()
	s.checkLabels()
	s.configure(map[string]string{"flags": "--quiet=8s\n--drain=HUP  --on-timeout=pass", "from": "image-volume"})
	s.becomes("an image volume", byImageVolume)
	emptyDir := withVolume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	if got := outcomeOf(s.dry(emptyDir)); !slices.Equal(got.Init, []string{"lull-install"}) {
		t.Errorf("a pod that has an emptyDir for lull, where others get an image volume: %+v", got)
	}
	s.configure(map[string]string{"grace": "much"})
	s.becomes("without lull, as the ConfigMap has a mistake", untouched)
	s.configure(map[string]string{"grace": "15"})
	s.becomes("with lull", installed)
	if err := s.client.CoreV1().ConfigMaps("lull").Delete(s.Context(), "lull", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.becomes("without lull, as there is no ConfigMap", untouched)
}

// untouched reports whether lull is in no part of a pod.
func untouched(p *corev1.Pod) bool {
	return !installed(p) && len(p.Spec.InitContainers) == 0 && hookWords(p.Spec.Containers[0]) == "none"
}

// checkLabels: a namespace's label can have sleeps replaced, and without one nothing happens,
// whatever the pod's says.
func (s *scene) checkLabels() {
	s.Helper()
	sleeping := pod(container("web", sleeps(5)), container("proxy", runs("sleep", "5")))
	s.label("replace-sleep")
	s.until(slow, "sleeps replaced", func() error {
		if got := outcomeOf(s.dry(sleeping)).Hooks; !strings.HasPrefix(got[0], hookPath) || got[0] != got[1] {
			return fmt.Errorf("hooks %q", got)
		}
		return nil
	})
	s.label("no")
	asking := with(plain(), func(p *corev1.Pod) { p.Labels = map[string]string{"lull-injection": "enabled"} })
	s.until(slow, "a namespace left out", func() error {
		if p := s.dry(asking); !untouched(p) {
			return fmt.Errorf("%+v", outcomeOf(p))
		}
		return nil
	})
	s.label("enabled")
}

// becomes waits until a plain pod comes out as wanted: a change of the ConfigMap takes a moment.
func (s *scene) becomes(what string, wanted func(*corev1.Pod) bool) {
	s.Helper()
	s.until(slow, what, func() error {
		if p := s.dry(plain()); !wanted(p) {
			return fmt.Errorf("%+v, %v", outcomeOf(p), p.Spec.Volumes)
		}
		return nil
	})
}

// byImageVolume: the volume is lull's image, nothing is copied, and the flags are the hook's.
func byImageVolume(p *corev1.Pod) bool {
	at := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "lull" })
	return at >= 0 && p.Spec.Volumes[at].Image != nil && len(p.Spec.InitContainers) == 0 && p.Annotations[localVolumes] == "" &&
		hookWords(p.Spec.Containers[0]) == hookPath+" --quiet=8s --drain=HUP --on-timeout=pass"
}

// checkQuota: where each container must have limits, the init container has them, and a pod that
// uses up the quota without it still fits.
func (s *scene) checkQuota() {
	s.Helper()
	quotas := s.client.CoreV1().ResourceQuotas(s.ns)
	hard := resources(amounts{"limits.cpu": "200m", "limits.memory": "64Mi", "requests.cpu": "200m", "requests.memory": "64Mi"}, nil).Requests
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
	if _, err := quotas.Create(s.Context(), q, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	defer func() {
		if err := quotas.Delete(s.Context(), "q", metav1.DeleteOptions{}); err != nil {
			s.Error(err)
		}
	}()
	s.until(slow, "the quota", func() error {
		if _, err := s.tryDry(plain()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "must specify") {
			return errors.Join(errors.New("a pod without limits is not refused for that"), err)
		}
		return nil
	})
	full := with(plain(), func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources = resources(nil, amounts{"cpu": "200m", "memory": "64Mi"})
	})
	s.until(slow, "a pod within the quota", func() error {
		p, err := s.tryDry(full)
		if err == nil && !installed(p) {
			err = errors.New("it has no lull")
		}
		return err
	})
}

// checkLimitRange: where a LimitRange sets limits and a least, the init container has them.
func (s *scene) checkLimitRange() {
	s.Helper()
	ranges := s.client.CoreV1().LimitRanges(s.ns)
	memory := func(amount string) corev1.ResourceList { return resources(amounts{"memory": amount}, nil).Requests }
	limit := corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Default: memory("128Mi"), Min: memory("100Mi")}
	l := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "l"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{limit}}}
	if _, err := ranges.Create(s.Context(), l, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.becomes("a pod with the LimitRange's limit", func(p *corev1.Pod) bool {
		return installed(p) && p.Spec.InitContainers[0].Resources.Limits.Memory().String() == "128Mi"
	})
	if err := ranges.Delete(s.Context(), "l", metav1.DeleteOptions{}); err != nil {
		s.Error(err)
	}
	s.becomes("a pod without limits", func(p *corev1.Pod) bool { return p.Status.QOSClass == corev1.PodQOSBestEffort })
}

// othersPolicy adds a container to pods, as a service mesh does.
const othersPolicy = `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: NAME}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: "[JSONPatch{op: 'add', path: '/spec/containers/-', value: Object.spec.containers{name: 'NAME', image: 'mesh'}}]"
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: NAME}
spec: {policyName: NAME, matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}}}
`

// checkOthers: containers that others add have the hook, too, whoever comes first: the API server has
// no order of policies.
func (s *scene) checkOthers() {
	s.Helper()
	names := []string{"a-mesh", "m-mesh", "z-mesh"}
	for _, name := range names {
		s.apply([]byte(strings.NewReplacer("NAMESPACE", s.ns, "NAME", name).Replace(othersPolicy)))
	}
	s.becomes("three containers more", func(p *corev1.Pod) bool { return len(p.Spec.Containers) == 1+len(names) })
	for range 10 {
		if got := outcomeOf(s.dry(plain())); slices.ContainsFunc(got.Hooks, func(hook string) bool { return hook != hookPath }) || len(got.Init) != 1 {
			s.Errorf("a pod to which others add containers: %+v", got)
		}
	}
	policies := s.client.AdmissionregistrationV1().MutatingAdmissionPolicies()
	for _, name := range names {
		if err := policies.Delete(s.Context(), name, metav1.DeleteOptions{}); err != nil {
			s.Error(err)
		}
	}
	s.becomes("one container", func(p *corev1.Pod) bool { return len(p.Spec.Containers) == 1 })
}

// checkRestricted: a pod that PodSecurity's level restricted lets in still gets in.
func (s *scene) checkRestricted() {
	s.Helper()
	s.label("enabled", `, "pod-security.kubernetes.io/enforce": "restricted"`)
	s.until(slow, "PodSecurity", func() error {
		if _, err := s.tryDry(plain()); !apierrors.IsForbidden(err) {
			return errors.Join(errors.New("a plain pod is not refused"), err)
		}
		return nil
	})
	p := with(plain(), func(p *corev1.Pod) { locked(&p.Spec) })
	if got, err := s.tryDry(p); err != nil || !installed(got) {
		s.Errorf("a pod that meets it: %v", err)
	}
	s.label("enabled", `, "pod-security.kubernetes.io/enforce": null`)
	s.until(slow, "no PodSecurity", func() error {
		_, err := s.tryDry(plain())
		return err
	})
}
