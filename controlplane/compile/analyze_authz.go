package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	security "istio.io/api/security/v1beta1"
)

// analyzeAuthz tells where a policy does less, or more, than it seems to.
func (c *compiler) analyzeAuthz(all *mesh.Authz) {
	metas := map[string]*istio.Object[*security.AuthorizationPolicy]{}
	accounts := c.accounts()
	for _, o := range c.set.AuthorizationPolicies {
		metas[o.Namespace+"/"+o.Name] = o
		c.sourceNamespaces(o)
		c.sourceIdentities(o, accounts)
	}
	for _, p := range all.Policies {
		m := &metas[p.Namespace+"/"+p.Name].Meta
		c.httpOnTCP(m, p)
		c.claimsWithoutTokens(m, p, all.Tokens)
	}
}

// claimRoutes: only a gateway can choose a route by claims, and only where tokens are read.
func (c *compiler) claimRoutes() {
	var tokens []*mesh.TokenPolicy
	if c.world.Authz != nil {
		tokens = c.world.Authz.Tokens
	}
	for _, r := range c.rules {
		meta := &r.object.Meta
		for i, route := range r.HostRules.Routes {
			if !slices.ContainsFunc(route.Matches, func(m *mesh.Match) bool { return len(m.Claims) > 0 }) {
				continue
			}
			if slices.Contains(r.Gateways, mesh.MeshGateway) {
				c.report(meta, r.at[i]+".match", istio.Error, istio.CodeSchema, "inside the mesh no route is chosen by claims: there the match never holds",
					"write gateways: [...] without mesh")
			}
			if !c.readsTokens(r.Gateways, tokens) {
				c.report(meta, r.at[i]+".match", istio.Error, codeClaimRouting, "no RequestAuthentication bears on the gateway: the match never holds",
					"add a RequestAuthentication for the gateway's workloads")
			}
		}
	}
}

// readsTokens tells whether a RequestAuthentication may bear on one of the gateways.
func (c *compiler) readsTokens(gateways []string, tokens []*mesh.TokenPolicy) bool {
	return slices.ContainsFunc(tokens, func(t *mesh.TokenPolicy) bool {
		return slices.ContainsFunc(c.world.Gateways, func(g *mesh.Gateway) bool {
			name := g.Namespace + "/" + g.Name
			return slices.Contains(gateways, name) && (slices.Contains(t.Gateways, name) ||
				len(t.Gateways)+len(t.Services) == 0 && (mesh.Selects(t.Selector, g.Selector) || mesh.Selects(g.Selector, t.Selector)))
		})
	})
}

// httpOnTCP: on a port of plain TCP there is no request to look at.
func (c *compiler) httpOnTCP(m *istio.Meta, p *mesh.AuthPolicy) {
	i := slices.IndexFunc(p.Rules, func(r *mesh.AuthRule) bool { return r.HTTP() && !namesPorts(r) })
	http := p.Action == mesh.AuthCustom && p.Provider != nil && !p.Provider.GRPC
	if http {
		i = slices.IndexFunc(p.Rules, func(r *mesh.AuthRule) bool { return !namesPorts(r) })
	}
	if i < 0 {
		return
	}
	where := c.tcpPort(&p.Bearing)
	if where == "" {
		return
	}
	path, message := index("spec.rules", i), ""
	switch {
	case http:
		path = "spec.provider.name"
		message = fmt.Sprintf("%s is no HTTP port: authorizer %s speaks HTTP and is not asked there", where, p.Provider.Name)
	case p.Action == mesh.AuthAllow:
		message = fmt.Sprintf("%s is no HTTP port: the rule looks at requests and allows no connection there", where)
	default:
		message = fmt.Sprintf("%s is no HTTP port: there the rule is taken without what it says of requests, and %s more", where,
			map[mesh.AuthAction]string{mesh.AuthDeny: "denies", mesh.AuthAudit: "audits", mesh.AuthCustom: "checks"}[p.Action])
	}
	c.report(m, path, istio.Warning, codeAuthTCP, message, "name the ports that it is for: to: [{operation: {ports: [...]}}]")
}

// namesPorts tells whether a rule is for some ports only: its author is taken to know which.
func namesPorts(r *mesh.AuthRule) bool {
	port := func(t *mesh.AuthTerm) bool { return t.Attribute == mesh.AuthPort && len(t.Values) > 0 }
	return slices.ContainsFunc(r.When, port) || len(r.To) > 0 && !slices.ContainsFunc(r.To, func(list []*mesh.AuthTerm) bool {
		return !slices.ContainsFunc(list, port)
	})
}

// tcpPort names a port of plain TCP among those that a policy bears on; "" if there is none.
func (c *compiler) tcpPort(b *mesh.Bearing) string {
	for _, s := range c.world.Services {
		if s.Selector == nil || !c.bearsOnService(b, s) {
			continue
		}
		for _, p := range s.Ports {
			if !p.Protocol.IsHTTP() {
				return fmt.Sprintf("port %d of %s", p.Number, s.Hostname)
			}
		}
	}
	return ""
}

func (c *compiler) bearsOnService(b *mesh.Bearing, s *mesh.Service) bool {
	switch {
	case len(b.Services)+len(b.Gateways) > 0:
		return slices.Contains(b.Services, s.Hostname)
	case b.Namespace != s.Namespace && b.Namespace != c.world.Settings.RootNamespace:
		return false
	}
	return b.Selector == nil || c.both(s.Namespace, b.Selector, s.Selector) != ""
}

// claimsWithoutTokens: without a RequestAuthentication no token is ever looked at.
func (c *compiler) claimsWithoutTokens(m *istio.Meta, p *mesh.AuthPolicy, tokens []*mesh.TokenPolicy) {
	i := slices.IndexFunc(p.Rules, func(r *mesh.AuthRule) bool {
		return slices.ContainsFunc(r.Terms(), func(t *mesh.AuthTerm) bool {
			return t.Attribute == mesh.AuthClaim || t.Attribute == mesh.AuthRequestIdentity
		})
	})
	if i < 0 || slices.ContainsFunc(tokens, func(t *mesh.TokenPolicy) bool {
		return t.Namespace == p.Namespace || t.Namespace == c.world.Settings.RootNamespace || p.Namespace == c.world.Settings.RootNamespace
	}) {
		return
	}
	c.report(m, index("spec.rules", i), istio.Warning, codeAuthToken,
		"the rule looks at tokens, and no RequestAuthentication has them read: nobody has a request principal or claims",
		"add a RequestAuthentication for the same workloads")
}

// sourceNamespaces names the namespaces of sources that nothing is known of.
func (c *compiler) sourceNamespaces(o *istio.Object[*security.AuthorizationPolicy]) {
	for i, r := range o.Spec.GetRules() {
		for j, f := range r.GetFrom() {
			for k, ns := range f.GetSource().GetNamespaces() {
				if strings.Contains(ns, "*") || c.namespaceExists(ns) {
					continue
				}
				path := index(index(index("spec.rules", i)+".from", j)+".source.namespaces", k)
				c.report(&o.Meta, path, istio.Warning, codeNotFound, fmt.Sprintf("namespace %s not found", ns), "")
			}
		}
	}
}

func (c *compiler) namespaceExists(name string) bool {
	for _, o := range c.set.Namespaces {
		if o.Name == name {
			return true
		}
	}
	return slices.ContainsFunc(c.world.Services, func(s *mesh.Service) bool { return s.Namespace == name }) ||
		slices.ContainsFunc(c.world.Workloads, func(w *mesh.Workload) bool { return w.Namespace == name }) ||
		c.template(name, func(map[string]string) bool { return true })
}
