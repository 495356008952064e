package cluster

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestKustomize: what kustomize makes of the examples: lull in the container, whose name the
// component does not know, the rights in the namespace, and nothing that the API server does not
// know.
func TestKustomize(t *testing.T) {
	s := &scene{T: t, ns: "shop"}
	var deployment appsv1.Deployment
	var binding rbacv1.RoleBinding
	into := map[string]any{"Deployment": &deployment, "RoleBinding": &binding, "Role": &rbacv1.Role{}, "Service": nil}
	for _, o := range s.objects(s.kustomized()) {
		typed, known := into[o.GetKind()]
		if !known || o.GetNamespace() != "shop" {
			t.Errorf("%s %s in namespace %s", o.GetKind(), o.GetName(), o.GetNamespace())
		}
		if typed != nil {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, typed, true); err != nil {
				t.Error(err)
			}
		}
	}
	spec := deployment.Spec.Template.Spec
	if len(spec.InitContainers) != 1 || len(spec.Volumes) != 1 || len(spec.Containers) != 1 {
		t.Fatalf("the pod: %+v", spec)
	}
	if c := spec.Containers[0]; hookWords(c) != hookPath || len(c.VolumeMounts) != 1 || c.ReadinessProbe == nil {
		t.Errorf("the container: %+v", c)
	}
	if got := binding.Subjects[0].Namespace; got != "shop" {
		t.Errorf("the rights are those of an account in namespace %s", got)
	}
}
