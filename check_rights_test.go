package main

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// The rights that are missing are told as what to add, under a name that is the account's own.
func TestCheckRBAC(t *testing.T) {
	t.Parallel()
	c := newTestCluster()
	c.denied["watch endpointslices"], c.denied["create events"] = true, true
	stdout, _, code := lull(t, nil, "check", "--kubeconfig", c.serve(t), "deploy/web")
	want := `
The missing rights, for kubectl auth reconcile -f -:

---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: lull-for-web, namespace: "a"}
rules:
- {apiGroups: ["discovery.k8s.io"], resources: [endpointslices], verbs: [watch]}
- {apiGroups: [""], resources: [events], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lull-for-web, namespace: "a"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: lull-for-web}
subjects: [{kind: ServiceAccount, name: "web", namespace: "a"}]
`
	if code != 1 || !strings.Contains(stdout, want) {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	if n := strings.Count(stdout, "kind: RoleBinding"); n != 1 {
		t.Errorf("%d times for two pods with one account:\n%s", n, stdout)
	}
}

// What --format=json has of several pods is, one behind the other, what kubectl takes.
func TestCheckRBACOfSeveral(t *testing.T) {
	t.Parallel()
	c := newTestCluster()
	c.denied["create events"] = true
	stdout, _, _ := lull(t, nil, "check", "--format=json", "--kubeconfig", c.serve(t), "deploy/web")
	var text strings.Builder
	for line := range strings.Lines(stdout) {
		var r report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		text.WriteString(r.RBAC + "\n") // as jq -r prints it
	}
	var kinds []string
	documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text.String()), 4096)
	for {
		var object struct{ Kind string }
		err := documents.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text.String())
		}
		kinds = append(kinds, object.Kind)
	}
	if want := []string{"Role", "RoleBinding", "Role", "RoleBinding"}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v\n%s", kinds, want, text.String())
	}
}

// The name is one that the API server takes, whatever the account is called.
func TestRoleName(t *testing.T) {
	t.Parallel()
	for _, account := range []string{"default", "7", "a.b-c", strings.Repeat("a", 253), strings.Repeat("a", 243) + "." + strings.Repeat("b", 9)} {
		if problems := validation.IsDNS1123Subdomain(roleName(account)); problems != nil {
			t.Errorf("%s: %v", roleName(account), problems)
		}
	}
}
