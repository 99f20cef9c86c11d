package compile

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	security "istio.io/api/security/v1beta1"
	corev1 "k8s.io/api/core/v1"
)

// account is a service account of a namespace.
type account struct{ namespace, name string }

// accountOf is the one that a pod of this template runs under.
func accountOf(namespace string, spec *corev1.PodSpec) account {
	return account{namespace, cmp.Or(spec.ServiceAccountName, "default")}
}

// accounts are those that workloads run under. Of a WorkloadEntry that names none nothing is known.
func (c *compiler) accounts() map[account]bool {
	all := map[account]bool{}
	for _, w := range c.world.Workloads {
		all[account{w.Namespace, w.ServiceAccount}] = true
	}
	for _, o := range c.set.Workloads {
		all[accountOf(o.Namespace, &o.Spec.Template.Spec)] = true
	}
	return all
}

// sourceIdentities names the callers that a policy speaks of and that no workload is: mostly a Deployment lacks the
// serviceAccountName that its author had in mind, and then an ALLOW policy lets nobody in.
func (c *compiler) sourceIdentities(o *istio.Object[*security.AuthorizationPolicy], all map[account]bool) {
	c.eachAccount(o, func(path string, a account) {
		if !all[a] {
			c.report(&o.Meta, path, istio.Warning, codeNobody,
				fmt.Sprintf("no workload of namespace %s runs under service account %s", a.namespace, a.name),
				"set spec.serviceAccountName in the caller's pod template, which is default where nothing is written")
		}
	})
}

// eachAccount visits the service accounts that a policy's sources name. The root namespace is left out: gateways are there, which
// have no manifests where Mizzen starts them.
func (c *compiler) eachAccount(o *istio.Object[*security.AuthorizationPolicy], visit func(path string, a account)) {
	for i, r := range o.Spec.GetRules() {
		for j, f := range r.GetFrom() {
			path := index(index("spec.rules", i)+".from", j) + ".source."
			for k, p := range f.GetSource().GetPrincipals() {
				if a, ok := c.accountNamed(p); ok && a.namespace != c.world.Settings.RootNamespace {
					visit(index(path+"principals", k), a)
				}
			}
			for k, s := range f.GetSource().GetServiceAccounts() {
				a := account{o.Namespace, s}
				if namespace, name, ok := strings.Cut(s, "/"); ok {
					a = account{namespace, name}
				}
				if a.namespace != c.world.Settings.RootNamespace {
					visit(index(path+"serviceAccounts", k), a)
				}
			}
		}
	}
}

// accountNamed takes a principal of this mesh apart: TRUST-DOMAIN/ns/NAMESPACE/sa/NAME. ok is false for patterns and for other meshes'.
func (c *compiler) accountNamed(s string) (a account, ok bool) {
	p := strings.Split(s, "/")
	if len(p) != 5 || p[1] != "ns" || p[3] != "sa" || strings.Contains(s, "*") || p[0] != c.world.Settings.TrustDomain {
		return account{}, false
	}
	return account{p[2], p[4]}, true
}
