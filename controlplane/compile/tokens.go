package compile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	typeapi "istio.io/api/type/v1beta1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// token is a place where objects find each other. The outcome of an object may depend on those objects only that define a token
// which it uses, and on what these depend on.
type token struct {
	kind      tokenKind
	namespace string // "*": any
	name      string
}

type tokenKind uint8

const (
	hostToken     tokenKind = iota // a service's host name
	policyToken                    // a host of a DestinationRule
	claimToken                     // a host that a VirtualService has in the mesh, or at a gateway (the namespace)
	ruleToken                      // a VirtualService by its name
	sliceToken                     // the EndpointSlices of a Service
	endpointToken                  // the Endpoints of a Service
	addressToken                   // a workload by its address
	labelToken                     // a workload, or a template of some, by one of its labels
	selectToken                    // what selects by a label
	autoToken                      // a block of the addresses that are given to hosts without any
	// Of the following, only that there are such is looked at.
	namesToken    // services, with their ports
	labelledToken // workloads, or templates, by one of their labels
	// Of the following, only whether there is any is looked at.
	accountToken // workloads, or templates, by their service account
	secretToken  // what names a Secret
)

// shape tells whether such a token is touched only by what shows without looking inside.
func (k tokenKind) shape() bool { return k >= namesToken }

// presence tells whether only that there is a definition is looked at.
func (k tokenKind) presence() bool { return k >= accountToken }

// graph finds the objects by their tokens.
type graph struct{ uses, defines map[token]map[*node]bool }

func newGraph() graph {
	return graph{map[token]map[*node]bool{}, map[token]map[*node]bool{}}
}

func (g graph) add(n *node) {
	put := func(m map[token]map[*node]bool, t token) {
		if m[t] == nil {
			m[t] = make(map[*node]bool, 1)
		}
		m[t][n] = true
	}
	for _, t := range n.uses {
		put(g.uses, t)
	}
	if n.scans {
		put(g.uses, token{kind: namesToken})
	}
	for _, t := range n.defines {
		put(g.defines, t)
	}
}

func (g graph) remove(n *node) {
	drop := func(m map[token]map[*node]bool, t token) {
		if delete(m[t], n); len(m[t]) == 0 {
			delete(m, t)
		}
	}
	for _, t := range n.uses {
		drop(g.uses, t)
	}
	if n.scans {
		drop(g.uses, token{kind: namesToken})
	}
	for _, t := range n.defines {
		drop(g.defines, t)
	}
}

// tokens reads them from objects.
type tokens struct{ c *compiler }

func (t *tokens) virtualService(n *node, o *istio.Object[*networking.VirtualService]) {
	inMesh := len(o.Spec.GetGateways()) == 0 || slices.Contains(o.Spec.GetGateways(), mesh.MeshGateway)
	for _, h := range o.Spec.GetHosts() {
		host := t.c.fqdn(h, o.Namespace)
		n.use(hostToken, "", host)
		if inMesh {
			n.use(claimToken, "", host)
			n.define(claimToken, "", host)
		}
	}
	for _, g := range o.Spec.GetGateways() {
		if name := gatewayName(g, o.Namespace); name != mesh.MeshGateway {
			for _, h := range o.Spec.GetHosts() {
				n.use(claimToken, name, t.c.fqdn(h, o.Namespace))
				n.define(claimToken, name, t.c.fqdn(h, o.Namespace))
			}
		}
	}
	to := func(d *networking.Destination) {
		host := t.c.fqdn(d.GetHost(), o.Namespace)
		n.use(hostToken, "", host)
		for h := host; h != ""; h = mesh.Wider(h) {
			n.use(policyToken, "", h)
		}
	}
	for _, r := range o.Spec.GetHttp() {
		for _, d := range r.GetRoute() {
			to(d.GetDestination())
		}
		if r.GetMirror() != nil {
			to(r.GetMirror())
		}
		for _, m := range r.GetMirrors() {
			to(m.GetDestination())
		}
		if d := r.GetDelegate(); d != nil {
			ns := d.GetNamespace()
			if ns == "" {
				ns = o.Namespace
			}
			n.use(ruleToken, ns, d.GetName())
			n.define(ruleToken, "delegates of", ns+"/"+d.GetName()) // a delegate may be told about its root
		}
	}
	n.use(ruleToken, "delegates of", o.Namespace+"/"+o.Name)
	for _, r := range o.Spec.GetTls() {
		for _, d := range r.GetRoute() {
			to(d.GetDestination())
		}
	}
	for _, r := range o.Spec.GetTcp() {
		for _, d := range r.GetRoute() {
			to(d.GetDestination())
		}
	}
	n.define(ruleToken, o.Namespace, o.Name)
}

func (t *tokens) destinationRule(n *node, o *istio.Object[*networking.DestinationRule]) {
	host := t.c.fqdn(o.Spec.GetHost(), o.Namespace)
	n.use(hostToken, "", host)
	n.use(policyToken, "", host)
	n.define(policyToken, "", host)
	n.selects(labelledToken, o.Namespace, o.Spec.GetWorkloadSelector().GetMatchLabels())
	for _, name := range credentials(o.Spec) {
		n.define(secretToken, "", name)
		n.define(secretToken, "", name+mesh.RootsSuffix)
	}
}

func (t *tokens) serviceEntry(n *node, o *istio.Object[*networking.ServiceEntry]) {
	for _, h := range o.Spec.GetHosts() {
		n.use(hostToken, "", strings.ToLower(h))
		n.define(hostToken, "", strings.ToLower(h))
		home, _ := autoHome(strings.ToLower(h), o.Namespace)
		n.use(autoToken, "", fmt.Sprint(home))
		n.define(autoToken, "", fmt.Sprint(home))
	}
	n.define(namesToken, "", "")
	n.selects(labelToken, o.Namespace, o.Spec.GetWorkloadSelector().GetLabels())
}

func (t *tokens) service(n *node, o *istio.Object[*corev1.Service]) {
	host := t.c.serviceFQDN(o.Name, o.Namespace)
	n.use(hostToken, "", host)
	n.define(hostToken, "", host)
	n.define(namesToken, "", "")
	n.use(sliceToken, o.Namespace, o.Name)
	n.use(endpointToken, o.Namespace, o.Name)
	n.selects(labelToken, o.Namespace, o.Spec.Spec.Selector)
}

func (t *tokens) pod(n *node, o *istio.Object[*corev1.Pod]) {
	n.workload(o.Namespace, podLabels(o.Labels, o.Spec))
	n.runsUnder(accountOf(o.Namespace, &o.Spec.Spec))
	n.define(addressToken, o.Namespace, o.Spec.Status.PodIP)
	for _, ip := range otherIPs(o.Spec) {
		n.define(addressToken, o.Namespace, ip)
	}
}

// workloadEntry: what selects it may have something to say of its address.
func (t *tokens) workloadEntry(n *node, o *istio.Object[*networking.WorkloadEntry]) {
	n.workload(o.Namespace, o.Spec.GetLabels())
	n.runsUnder(account{o.Namespace, o.Spec.GetServiceAccount()})
	n.define(addressToken, o.Namespace, o.Spec.GetAddress())
	for k, v := range o.Spec.GetLabels() {
		n.use(selectToken, o.Namespace, k+"="+v)
	}
}

func (t *tokens) template(n *node, o *istio.Object[*istio.WorkloadTemplate]) {
	n.workload(o.Namespace, o.Spec.Template.Labels)
	n.runsUnder(accountOf(o.Namespace, &o.Spec.Template.Spec))
}

func (t *tokens) endpointSlice(n *node, o *istio.Object[*discoveryv1.EndpointSlice]) {
	n.define(sliceToken, o.Namespace, o.Labels[discoveryv1.LabelServiceName])
	for _, e := range o.Spec.Endpoints {
		for _, a := range e.Addresses {
			n.use(addressToken, o.Namespace, a)
		}
	}
}

func (t *tokens) endpoints(n *node, o *istio.Object[*corev1.Endpoints]) {
	n.define(endpointToken, o.Namespace, o.Name)
	for _, s := range o.Spec.Subsets {
		for _, a := range slices.Concat(s.Addresses, s.NotReadyAddresses) {
			n.use(addressToken, o.Namespace, a.IP)
		}
	}
}

// wholes gives what objects of whole kinds may look at. Those of a kind that is not known here may look at all services, and at
// the workloads that they select; so does MeshConfig, for its providers.
func (t *tokens) wholes(set istio.Set) []*node {
	var out []*node
	v := reflect.ValueOf(set)
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if traced[name] || name == "Legacy" || name == "Others" || name == "Namespaces" || f.Kind() != reflect.Slice {
			continue
		}
		for j := range f.Len() {
			o := f.Index(j)
			m := o.Elem().FieldByName("Meta").Addr().Interface().(*istio.Meta)
			n := &node{meta: m}
			if name != "Sidecars" && name != "Gateways" && name != "Secrets" {
				n.use(namesToken, "", "")
			}
			t.selector(n, o.Elem().FieldByName("Spec").Interface())
			out = append(out, n)
		}
	}
	limits := &node{meta: &istio.Meta{Ref: istio.Ref{Kind: "rate-limit service"}}}
	limits.use(hostToken, "", t.c.serviceFQDN(limitServiceName, t.c.world.Settings.RootNamespace))
	if t.c.world.Tracing != nil || set.Mesh != nil && providing(set.Mesh.Spec) {
		limits.use(namesToken, "", "")
	}
	return append(out, limits)
}

// providing tells whether a MeshConfig names services.
func providing(m *meshconfig.MeshConfig) bool {
	return len(m.GetExtensionProviders()) > 0 || m.GetDefaultProviders() != nil || m.GetDefaultConfig().GetTracing() != nil
}

// selector is what an object of a whole kind selects workloads by.
func (t *tokens) selector(n *node, spec any) {
	var labels map[string]string
	switch s := spec.(type) {
	case *networking.Sidecar:
		labels = s.GetWorkloadSelector().GetLabels()
		if slices.ContainsFunc(s.GetEgress(), func(e *networking.IstioEgressListener) bool { return onOwnAddress(egressListener(e)) }) {
			n.use(namesToken, "", "") // what selects its workloads says where they listen
			if len(labels) == 0 {
				n.use(labelledToken, "*", "")
			}
		}
	case *networking.Gateway:
		n.selects(labelledToken, "*", s.GetSelector())
		return
	case *istio.RateLimit:
		if slices.ContainsFunc(s.Limits, func(r istio.RateLimitRule) bool { return r.Scope != "" && r.Scope != "local" }) {
			n.use(labelToken, "*", "") // a share counts workloads, ready ones
		}
		if s.Selector != nil {
			labels = s.Selector.MatchLabels
		}
	case *corev1.Secret:
		n.use(secretToken, "", n.meta.Name)
		return
	case *security.AuthorizationPolicy:
		t.c.eachAccount(&istio.Object[*security.AuthorizationPolicy]{Meta: *n.meta, Spec: s}, func(_ string, a account) {
			n.use(accountToken, a.namespace, a.name)
		})
		labels = s.GetSelector().GetMatchLabels()
	case interface {
		GetSelector() *typeapi.WorkloadSelector
	}:
		labels = s.GetSelector().GetMatchLabels()
	default:
		n.use(labelledToken, "*", "")
		return
	}
	ns := n.meta.Namespace
	if ns == t.c.world.Settings.RootNamespace {
		n.selects(labelledToken, "*", labels)
	}
	n.selects(labelledToken, ns, labels)
}

func (n *node) use(k tokenKind, namespace, name string) {
	n.uses = append(n.uses, token{k, namespace, name})
}

func (n *node) define(k tokenKind, namespace, name string) {
	n.defines = append(n.defines, token{k, namespace, name})
}

// selects: whatever has all labels has this one, which few others have if its value is long.
func (n *node) selects(k tokenKind, namespace string, labels map[string]string) {
	if len(labels) == 0 {
		return
	}
	best := ""
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if best == "" || len(labels[key]) > len(labels[best]) {
			best = key
		}
	}
	n.use(k, namespace, best+"="+labels[best])
	n.define(selectToken, namespace, best+"="+labels[best])
}

func (n *node) runsUnder(a account) { n.define(accountToken, a.namespace, a.name) }

func (n *node) workload(namespace string, labels map[string]string) {
	for k, v := range labels {
		n.define(labelToken, namespace, k+"="+v)
		n.define(labelledToken, namespace, k+"="+v)
		n.define(labelledToken, "*", k+"="+v)
	}
	n.define(labelToken, "*", "")
	n.define(labelledToken, "*", "")
}
