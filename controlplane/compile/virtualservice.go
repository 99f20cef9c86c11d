package compile

import (
	"fmt"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	networking "istio.io/api/networking/v1alpha3"
)

// rule is a compiled VirtualService and the object it came from, for the analysis.
type rule struct {
	*mesh.HostRules
	object *istio.Object[*networking.VirtualService]
	// at is the path of each of HostRules.Routes, in its object or in that of from: the delegate that it came from.
	at   []string
	from map[*mesh.Route]*istio.Object[*networking.VirtualService]
}

// source is the object that a route stands in.
func (r *rule) source(route *mesh.Route) *istio.Object[*networking.VirtualService] {
	if o := r.from[route]; o != nil {
		return o
	}
	return r.object
}

// virtualServices lowers each VirtualService, in order of precedence. One without http routes says nothing about HTTP: its hosts
// keep their defaults. One without hosts is for others to delegate to.
func (c *compiler) virtualServices() {
	for _, o := range c.set.VirtualServices {
		if len(o.Spec.GetHosts()) == 0 {
			c.analyzeDelegate(o)
			continue
		}
		r := &rule{object: o, from: map[*mesh.Route]*istio.Object[*networking.VirtualService]{}, HostRules: &mesh.HostRules{
			Namespace: o.Namespace, Name: o.Name,
			Gateways:   c.ruleGateways(o.Spec.GetGateways(), o.Namespace),
			Visibility: visibility(exportOr(o.Spec.GetExportTo(), c.meshConfig().GetDefaultVirtualServiceExportTo()), o.Namespace),
			Origin:     origin(&o.Meta, ""),
		}}
		for _, h := range o.Spec.GetHosts() {
			if f := c.fqdn(h, o.Namespace); !slices.Contains(r.Hosts, f) {
				r.Hosts = append(r.Hosts, f)
			}
		}
		sticky := c.sticky(r)
		c.lane(r)
		for i, h := range o.Spec.GetHttp() {
			path := fmt.Sprintf("spec.http[%d]", i)
			if h.GetDelegate() != nil {
				c.delegate(r, path, h, sticky)
				continue
			}
			if route := c.route(&o.Meta, path, h, sticky); route != nil {
				r.Routes, r.at = append(r.Routes, route), append(r.at, path)
			}
		}
		c.steps(r)
		c.l4(r)
		if len(r.Routes)+len(r.TCP)+len(r.TLS) == 0 && len(o.Spec.GetHttp()) == 0 {
			continue
		}
		c.rules = append(c.rules, r)
		c.world.Rules = append(c.world.Rules, r.HostRules)
	}
}

func (c *compiler) ruleGateways(gateways []string, namespace string) []string {
	if len(gateways) == 0 {
		return []string{mesh.MeshGateway}
	}
	var out []string
	for _, g := range gateways {
		if n := gatewayName(g, namespace); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// sticky reads Mizzen's annotations into r.Canary and returns what each weighted route gets.
func (c *compiler) sticky(r *rule) *canary.Sticky {
	m := &r.object.Meta
	var out *canary.Sticky
	if v, ok := m.Annotations[StickyAnnotation]; ok {
		s, err := ParseSticky(v)
		if err != nil {
			c.report(m, annotationPath(StickyAnnotation), istio.Error, codeAnnotation, err.Error(),
				"write header=NAME, cookie=NAME, cookie=NAME;ttl=1h;path=/, source-address or trace-id")
		} else {
			out = s
			r.Canary = &canary.Config{}
		}
	}
	if v := m.Annotations[DecisionAnnotation]; v != "" {
		if !headerName(v) {
			c.report(m, annotationPath(DecisionAnnotation), istio.Error, codeAnnotation,
				fmt.Sprintf("%q is no header name", v), "write a header name such as x-canary")
			return out
		}
		r.Canary = &canary.Config{ResponseHeader: v}
	}
	return out
}

func annotationPath(name string) string { return fmt.Sprintf("metadata.annotations[%q]", name) }
