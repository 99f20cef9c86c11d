package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// gatewayNamespace is where gateways live that no Deployment names: Istio's root namespace.
const gatewayNamespace = "istio-system"

// Gateway is one gateway Envoy.
type Gateway struct {
	Name      string // istio-ingressgateway
	Namespace string
	Labels    map[string]string
	// Annotations are of the Deployment that runs it; nil if there is none.
	Annotations map[string]string
	Proxy       Proxy           // how its Envoy is started
	Ports       []uint32        // of all servers of its Gateways, sorted
	TLS         map[uint32]bool // those whose protocol is HTTPS or TLS
	selector    map[string]string
	adopted     bool
}

// Key names the gateway among all.
func (g *Gateway) Key() string { return g.Namespace + "/" + g.Name }

// gateways makes one gateway of each distinct selector. Selectors that give the same name and do not contradict each other
// ({istio: ingressgateway} and {app: istio-ingressgateway}) mean the same gateway, as they do in a cluster.
func (b *builder) gateways() []*Gateway {
	var out []*Gateway
	for _, o := range b.set.Gateways {
		selector := o.Spec.GetSelector()
		if len(selector) == 0 {
			selector = map[string]string{"istio": "ingressgateway"}
		}
		g := find(out, selector)
		if g == nil {
			g = &Gateway{Name: freeName(out, gatewayName(selector)), Namespace: gatewayNamespace, Labels: map[string]string{}, selector: map[string]string{}, TLS: map[uint32]bool{}}
			out = append(out, g)
		}
		maps.Copy(g.Labels, selector)
		maps.Copy(g.selector, selector)
		for _, s := range o.Spec.GetServers() {
			n := s.GetPort().GetNumber()
			if n == 0 {
				continue
			}
			if !slices.Contains(g.Ports, n) {
				g.Ports = append(g.Ports, n)
			}
			if p := strings.ToUpper(s.GetPort().GetProtocol()); p == "HTTPS" || p == "TLS" {
				g.TLS[n] = true
			}
		}
	}
	for _, g := range out {
		slices.Sort(g.Ports)
	}
	slices.SortFunc(out, func(a, c *Gateway) int {
		return cmp.Or(cmp.Compare(rank(a), rank(c)), cmp.Compare(a.Name, c.Name))
	})
	return out
}

// rank puts the ingress gateway first: it gets 127.0.0.1 and the ports that were asked for.
func rank(g *Gateway) int {
	if g.Labels["istio"] == "ingressgateway" {
		return 0
	}
	return 1
}

func find(all []*Gateway, selector map[string]string) *Gateway {
	for _, g := range all {
		if g.Name == gatewayName(selector) && agree(g.Labels, selector) {
			return g
		}
	}
	return nil
}

// agree tells whether no key has two values.
func agree(a, b map[string]string) bool {
	for k, v := range b {
		if got, ok := a[k]; ok && got != v {
			return false
		}
	}
	return true
}

func freeName(all []*Gateway, name string) string {
	for slices.ContainsFunc(all, func(g *Gateway) bool { return g.Name == name }) {
		name += "-x"
	}
	return name
}

// gatewayName is "istio-" and the value of label istio, else the values of all labels, joined.
func gatewayName(selector map[string]string) string {
	if v := selector["istio"]; v != "" {
		return "istio-" + v
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		parts = append(parts, selector[k])
	}
	return strings.Join(parts, "-")
}

// gatewayFor returns the gateway whose selector the labels of a Deployment satisfy: that Deployment is the gateway.
func gatewayFor(all []*Gateway, labels map[string]string) *Gateway {
	for _, g := range all {
		if selects(g.selector, labels) {
			return g
		}
	}
	return nil
}

// adopt gives the gateway the identity of the Deployment that runs it.
func (g *Gateway) adopt(o *istio.Object[*istio.WorkloadTemplate]) {
	if g.adopted {
		return
	}
	g.adopted = true
	g.Name, g.Namespace, g.Annotations = o.Name, o.Namespace, o.Spec.Template.Annotations
	labels := maps.Clone(o.Spec.Template.Labels)
	maps.Copy(labels, g.Labels)
	g.Labels = labels
}
