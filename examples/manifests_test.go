// Package examples holds what users copy. Its tests read each file as strictly as the API server, or
// kustomize, does.
package examples

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	yamldocuments "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// manifests are the files that are applied as they are: objects, complete.
var manifests = []string{
	"deployment.yaml", "policy/policy.yaml", "policy/config.yaml", "rbac/clusterroles.yaml", "rbac/rolebinding.yaml",
	"kustomize/web.yaml", "kustomize/lull/rbac.yaml", "kustomize/lull/pod.yaml", "drain/envoy/deployment.yaml",
}

// patches are of a Deployment, without its kind and name.
var patches = []string{"patch/init-container.yaml", "patch/image-volume.yaml"}

// parts are of a pod, the same way.
var parts = []string{"drain/nginx/pod.yaml"}

// hookParts is what kustomize/lull/hook.yaml has besides its metadata.
type hookParts struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	PreStop           corev1.LifecycleHandler `json:"preStop"`
	VolumeMount       corev1.VolumeMount      `json:"volumeMount"`
}

// kustomization has the fields of a Kustomization and a Component that the examples use.
type kustomization struct {
	metav1.TypeMeta `json:",inline"`
	Namespace       string   `json:"namespace"`
	Resources       []string `json:"resources"`
	Components      []string `json:"components"`
	Images          []struct {
		Name   string `json:"name"`
		NewTag string `json:"newTag"`
	} `json:"images"`
	Patches []struct {
		Path   string   `json:"path"`
		Target selector `json:"target"`
	} `json:"patches"`
	Replacements []struct {
		Source struct {
			selector  `json:",inline"`
			FieldPath string `json:"fieldPath"`
		} `json:"source"`
		Targets []struct {
			Select     selector `json:"select"`
			FieldPaths []string `json:"fieldPaths"`
			Options    struct {
				Create bool `json:"create"`
			} `json:"options"`
		} `json:"targets"`
	} `json:"replacements"`
}

type selector struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// strict decodes the kinds of the examples, and refuses fields that they do not have.
func strict(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme, admissionv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// objects decodes every document of a file.
func objects(t *testing.T, file string) (all []runtime.Object) {
	t.Helper()
	r := yamldocuments.NewYAMLReader(bufio.NewReader(bytes.NewReader(read(t, file))))
	for {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		object, _, err := strict(t).Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", file, err, document)
		}
		all = append(all, object)
	}
	if len(all) == 0 {
		t.Fatalf("%s: no object", file)
	}
	return all
}

// object is the one of its type in a file.
func object[T runtime.Object](t *testing.T, file string) T {
	t.Helper()
	for _, o := range objects(t, file) {
		if typed, ok := o.(T); ok {
			return typed
		}
	}
	var none T
	t.Fatalf("%s: no %T", file, none)
	return none
}

// incomplete decodes a file into an object whose kind it does not name.
func incomplete[T runtime.Object](t *testing.T, file string, into T) T {
	t.Helper()
	if _, _, err := strict(t).Decode(read(t, file), nil, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return into
}

// patch decodes a patch of a Deployment.
func patch(t *testing.T, file string) *appsv1.Deployment {
	t.Helper()
	return incomplete(t, file, &appsv1.Deployment{})
}

func hook(t *testing.T) (h hookParts) {
	t.Helper()
	if err := yaml.UnmarshalStrict(read(t, "kustomize/lull/hook.yaml"), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestStrict: no file has a field that its kind does not have, and no file is left out.
func TestStrict(t *testing.T) {
	seen := map[string]bool{"kustomize/lull/hook.yaml": true}
	for _, file := range manifests {
		seen[file] = true
		objects(t, file)
	}
	for _, file := range patches {
		seen[file] = true
		patch(t, file)
	}
	for _, file := range parts {
		seen[file] = true
		incomplete(t, file, &corev1.Pod{})
	}
	hook(t)
	for _, file := range []string{"kustomize/kustomization.yaml", "kustomize/lull/kustomization.yaml"} {
		seen[file] = true
		var k kustomization
		if err := yaml.UnmarshalStrict(read(t, file), &k); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, path := range append(k.Resources, k.Components...) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), path)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	for _, pattern := range []string{"*.yaml", "*/*.yaml", "*/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !seen[file] {
				t.Errorf("%s: not read by any test", file)
			}
		}
	}
}

// TestSameWay: the init container, the volume, the hook and the rights are the same in each file that
// has them.
func TestSameWay(t *testing.T) {
	same := func(what string, a, b any) {
		t.Helper()
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s differ:\n%s", what, diff)
		}
	}
	component, byPatch, byImage := object[*appsv1.Deployment](t, "kustomize/lull/pod.yaml"), patch(t, patches[0]), patch(t, patches[1])
	pod, patched, mounted := component.Spec.Template.Spec, byPatch.Spec.Template.Spec, byImage.Spec.Template.Spec
	same("init containers", pod.InitContainers, patched.InitContainers)
	same("volumes", pod.Volumes, patched.Volumes)
	same("annotations", component.Spec.Template.Annotations, byPatch.Spec.Template.Annotations)
	same("containers", mounted.Containers, patched.Containers)
	same("hooks", hook(t).PreStop, *patched.Containers[0].Lifecycle.PreStop)
	same("mounts", []corev1.VolumeMount{hook(t).VolumeMount}, patched.Containers[0].VolumeMounts)

	var rules []rbacv1.PolicyRule
	for _, o := range objects(t, "rbac/clusterroles.yaml") {
		if role := o.(*rbacv1.ClusterRole); role.Name != "lull-events" {
			rules = append(rules, role.Rules...)
		}
	}
	same("rules of the component", rules, object[*rbacv1.Role](t, "kustomize/lull/rbac.yaml").Rules)
	same("rules of the Deployment", rules, object[*rbacv1.Role](t, "deployment.yaml").Rules)
}

// TestOneImage: lull's image has one name and one tag in all files, and the component's user sets the
// same.
func TestOneImage(t *testing.T) {
	want := object[*corev1.ConfigMap](t, "policy/config.yaml").Data["image"]
	image := regexp.MustCompile(`[\w./-]+/lull:[\w.-]+`)
	for _, file := range slices.Concat(manifests, patches, []string{"image/Dockerfile"}) {
		for _, got := range image.FindAllString(string(read(t, file)), -1) {
			if got != want {
				t.Errorf("%s: image %s, want %s", file, got, want)
			}
		}
	}
	var k kustomization
	if err := yaml.UnmarshalStrict(read(t, "kustomize/kustomization.yaml"), &k); err != nil {
		t.Fatal(err)
	}
	for _, i := range k.Images {
		if got := i.Name + ":" + i.NewTag; got != want {
			t.Errorf("kustomization.yaml: image %s, want %s", got, want)
		}
	}
}
