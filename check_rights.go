package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"lull/kube"
)

// rights reports what the hook may not ask, with the Role that would let it.
func (k *podCheck) rights(ctx context.Context) {
	if k.inquirer == nil {
		return
	}
	account := k.spec.ServiceAccount
	if !k.local {
		account = cmp.Or(account, "default")
	} else {
		account = "" // ask for oneself: everybody may
	}
	missing, name, err := k.inquirer.Missing(ctx, account)
	if err != nil {
		k.report.say("rights", "not known: %v", err)
		return
	}
	name = cmp.Or(name, k.spec.ServiceAccount, "default")
	if len(missing) == 0 {
		k.report.say("rights", "service account %s has all that the hook uses", name)
		return
	}
	for _, r := range missing {
		if r.Needed {
			k.report.lack("rights", "the right to %s: %s", r, r.For)
		} else {
			k.report.warn("rights", "no right to %s: %s", r, r.For)
		}
	}
	namespace, _, _ := strings.Cut(k.report.Pod, "/")
	k.report.RBAC = rbac(namespace, name, missing)
}

// rbac is a Role with the rights that are missing, and its binding, under a name of the account's
// own: a roleRef cannot be changed, and a binding that is there may be other accounts'.
//
// It is for kubectl auth reconcile, which adds to what is there. Apply would replace what an earlier
// one has given.
func rbac(namespace, account string, missing []kube.Right) string {
	name := roleName(account)
	var b strings.Builder
	fmt.Fprintf(&b, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: %s, namespace: %q}\nrules:\n", name, namespace)
	for _, r := range missing {
		fmt.Fprintf(&b, "- {apiGroups: [%q], resources: [%s], verbs: [%s]}\n", r.Group, r.Resource, r.Verb)
	}
	fmt.Fprintf(&b, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: %s, namespace: %q}\n"+
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: %[1]s}\n"+
		"subjects: [{kind: ServiceAccount, name: %[3]q, namespace: %[2]q}]\n", name, namespace, account)
	return b.String()
}

// roleName is a name for what an account gets for lull's sake. Like the account's it is a DNS
// subdomain, of at most 253 characters.
func roleName(account string) string {
	name := "lull-for-" + account
	return strings.TrimRight(name[:min(len(name), 253)], "-.")
}
