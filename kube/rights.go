package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Right is something that a hook may have to do.
type Right struct {
	Group, Resource, Verb string
	// Needed: without it the hook takes longer than it has to.
	Needed bool
	For    string // what it is good for, a sentence
}

func (r Right) String() string {
	if r.Group != "" {
		return r.Verb + " " + r.Resource + "." + r.Group
	}
	return r.Verb + " " + r.Resource
}

// Rights are all that a hook makes use of.
var Rights = []Right{
	{"", "pods", "get", true, "the pod tells its grace period and its probes"},
	{"discovery.k8s.io", "endpointslices", "list", true, "they tell when the pod is out of rotation"},
	{"discovery.k8s.io", "endpointslices", "watch", true, "they tell when the pod is out of rotation"},
	{"", "services", "get", false, "they tell whether traffic must stay on the node (internalTrafficPolicy)"},
	{"", "events", "create", false, "kubectl events and kubectl describe pod then show how the hook goes"},
}

// Missing returns which of the Rights a service account of the namespace does not have. With an
// account of "" it is the one that asks, and its name is returned, "" if the API server does not
// tell. Who asks about another must be allowed to (create subjectaccessreviews); everybody may ask
// about himself, as a rule.
func (i *Inquirer) Missing(ctx context.Context, account string) (missing []Right, name string, err error) {
	name = account
	if account == "" {
		name = i.whoAsks(ctx)
	}
	for _, r := range Rights {
		ok, err := i.may(ctx, account, r)
		if err != nil {
			return nil, name, err
		}
		if !ok {
			missing = append(missing, r)
		}
	}
	return missing, name, nil
}

type accessReview struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       accessSpec   `json:"spec"`
	Status     accessStatus `json:"status,omitzero"`
}

type accessSpec struct {
	ResourceAttributes map[string]string `json:"resourceAttributes"`
	User               string            `json:"user,omitempty"`
	Groups             []string          `json:"groups,omitempty"`
}

type accessStatus struct {
	Allowed bool `json:"allowed,omitempty"`
}

// may asks about one right (kubernetes.io/docs/reference/access-authn-authz/authorization,
// "Checking API access").
func (i *Inquirer) may(ctx context.Context, account string, r Right) (bool, error) {
	namespace := i.client.namespace
	review := accessReview{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"}
	review.Spec.ResourceAttributes = map[string]string{"namespace": namespace, "verb": r.Verb, "group": r.Group, "resource": r.Resource}
	resource := "selfsubjectaccessreviews"
	if account != "" {
		resource, review.Kind = "subjectaccessreviews", "SubjectAccessReview"
		review.Spec.User = "system:serviceaccount:" + namespace + ":" + account
		review.Spec.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}
	}
	body, err := json.Marshal(review)
	if err != nil {
		return false, err
	}
	text, err := i.raw(ctx, i.client.core.Post(), "/apis/authorization.k8s.io/v1/"+resource, body)
	if err != nil {
		return false, explain(op{"create", resource + ".authorization.k8s.io"}, namespace, err).err
	}
	var answer accessReview
	if err := json.Unmarshal(text, &answer); err != nil {
		return false, fmt.Errorf("%s: %s", resource, oneLine(err.Error()))
	}
	return answer.Status.Allowed, nil
}

// whoAsks is the name of the service account that asks.
func (i *Inquirer) whoAsks(ctx context.Context) string {
	body := []byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	text, err := i.raw(ctx, i.client.core.Post(), "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
	var answer struct {
		Status struct{ UserInfo struct{ Username string } }
	}
	if err != nil || json.Unmarshal(text, &answer) != nil {
		return "" // before 1.28 nobody could ask that
	}
	name, ok := strings.CutPrefix(answer.Status.UserInfo.Username, "system:serviceaccount:"+i.client.namespace+":")
	if !ok {
		return ""
	}
	return oneLine(name)
}
