package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// authorize gives the listeners that take calls for the workload, or at a gateway, the policies in force there.
func (s *scope) authorize(v *mesh.View, n mesh.Node) {
	if s.cache.world.Authz == nil {
		return
	}
	for _, l := range v.Listeners {
		switch l.Kind {
		case mesh.ListenInbound, mesh.ListenVirtualInbound:
			for _, in := range l.Inbound {
				in.Auth = s.auth(n, in.Port)
			}
			if l.Kind == mesh.ListenVirtualInbound {
				l.Auth = s.auth(n, 0)
			}
		case mesh.ListenGateway:
			l.Auth = s.auth(n, 0)
			if l.Auth != nil && len(l.Auth.Tokens) > 0 && slices.ContainsFunc(v.Tables, chosenByClaims) {
				l.Auth.Tokens = choosingAgain(l.Auth.Tokens)
			}
		}
	}
	s.keyClusters(v)
}

// chosenByClaims tells whether a route of the table looks at claims.
func chosenByClaims(t *mesh.RouteTable) bool {
	return slices.ContainsFunc(t.VirtualHosts, func(h *mesh.VirtualHost) bool {
		return slices.ContainsFunc(h.Routes, func(r *mesh.BoundRoute) bool { return r.Match != nil && len(r.Match.Claims) > 0 })
	})
}

// choosingAgain has the route chosen once more when the token is read.
func choosingAgain(in []*mesh.TokenRule) []*mesh.TokenRule {
	var out []*mesh.TokenRule
	for _, t := range in {
		again := *t
		again.ClearRoutes = true
		out = append(out, &again)
	}
	return out
}

// auth collects what bears on a port of the proxy, 0 for those that no service names; nil if nothing does.
func (s *scope) auth(n mesh.Node, port uint32) *mesh.Auth {
	w, out := s.cache.world.Authz, &mesh.Auth{}
	for _, p := range w.Policies {
		if !s.cache.bears(&p.Bearing, n, port) {
			continue
		}
		p = portsAt(p, n)
		switch p.Action {
		case mesh.AuthCustom:
			s.custom(out, p)
		case mesh.AuthAudit:
			out.Audit = append(out.Audit, p)
		case mesh.AuthDeny:
			out.Deny = append(out.Deny, p)
		default:
			out.Allow = append(out.Allow, p)
		}
	}
	for _, t := range w.Tokens {
		if s.cache.bears(&t.Bearing, n, port) {
			out.Tokens = append(out.Tokens, t.Rules...)
		}
	}
	slices.SortStableFunc(out.Tokens, func(a, b *mesh.TokenRule) int { return cmp.Compare(a.Issuer, b.Issuer) })
	if len(out.Custom)+len(out.Audit)+len(out.Deny)+len(out.Allow)+len(out.Tokens) == 0 {
		return nil
	}
	return out
}

// custom adds a policy to those of its authorizer. One that the proxy cannot reach counts as one that does not exist.
func (s *scope) custom(out *mesh.Auth, p *mesh.AuthPolicy) {
	provider, cluster := p.Provider, ""
	if provider != nil {
		cluster = mesh.OutboundCluster(provider.Port, "", provider.Hostname)
		if s.named[cluster] == nil {
			provider, cluster = nil, ""
		}
	}
	i := slices.IndexFunc(out.Custom, func(c *mesh.CustomAuth) bool { return c.Provider == provider })
	if i < 0 {
		i = len(out.Custom)
		out.Custom = append(out.Custom, &mesh.CustomAuth{Provider: provider, Cluster: cluster})
	}
	out.Custom[i].Policies = append(out.Custom[i].Policies, p)
}

// bears tells whether a policy is for a port of the proxy.
func (c *Cache) bears(b *mesh.Bearing, n mesh.Node, port uint32) bool {
	if len(b.Services)+len(b.Gateways) > 0 {
		return port != 0 && slices.ContainsFunc(b.Services, func(host string) bool { return c.leadsTo(host, n, port) }) ||
			slices.ContainsFunc(b.Gateways, func(name string) bool { return c.runs(name, n) })
	}
	return (b.Namespace == n.Namespace || b.Namespace == c.world.Settings.RootNamespace) && mesh.Selects(b.Selector, n.Labels)
}

// runs tells whether the proxy serves a Gateway, "namespace/name".
func (c *Cache) runs(gateway string, n mesh.Node) bool {
	if !n.Gateway {
		return false
	}
	if label := n.Labels[mesh.GatewayNameLabel]; label != "" && n.Namespace+"/"+label == gateway {
		return true
	}
	return slices.ContainsFunc(c.world.Gateways, func(g *mesh.Gateway) bool {
		return g.Namespace+"/"+g.Name == gateway && mesh.Selects(g.Selector, n.Labels)
	})
}

// portsAt is p for a gateway that binds other ports than its servers name: a rule about a server's port is about the one bound.
func portsAt(p *mesh.AuthPolicy, n mesh.Node) *mesh.AuthPolicy {
	about := func(t *mesh.AuthTerm) bool { return t.Attribute == mesh.AuthPort }
	if !n.Gateway || len(n.Ports) == 0 || !slices.ContainsFunc(p.Rules, func(r *mesh.AuthRule) bool {
		return slices.ContainsFunc(r.Terms(), about)
	}) {
		return p
	}
	out := *p
	out.Rules = nil
	for _, r := range p.Rules {
		out.Rules = append(out.Rules, &mesh.AuthRule{From: r.From, To: boundLists(r.To, n), When: boundTerms(r.When, n)})
	}
	return &out
}

func boundLists(in [][]*mesh.AuthTerm, n mesh.Node) [][]*mesh.AuthTerm {
	var out [][]*mesh.AuthTerm
	for _, list := range in {
		out = append(out, boundTerms(list, n))
	}
	return out
}

func boundTerms(in []*mesh.AuthTerm, n mesh.Node) []*mesh.AuthTerm {
	var out []*mesh.AuthTerm
	for _, t := range in {
		if t.Attribute == mesh.AuthPort {
			t = &mesh.AuthTerm{Attribute: t.Attribute, Values: boundPorts(t.Values, n), Not: boundPorts(t.Not, n)}
		}
		out = append(out, t)
	}
	return out
}

func boundPorts(in []mesh.AuthValue, n mesh.Node) []mesh.AuthValue {
	var out []mesh.AuthValue
	for _, v := range in {
		port, err := strconv.ParseUint(v.Text, 10, 16)
		if to, ok := n.Ports[uint32(port)]; ok && err == nil {
			v.Text = portString(to)
		}
		out = append(out, v)
	}
	return out
}

// keyClusters adds the clusters of key sets that no service of the mesh has, or that are fetched over TLS.
func (s *scope) keyClusters(v *mesh.View) {
	seen := map[string]bool{}
	add := func(a *mesh.Auth) {
		if a == nil {
			return
		}
		for _, t := range a.Tokens {
			if t.KeysURI == "" || t.KeysCluster != mesh.KeysCluster(t.KeysHost, t.KeysPort) || seen[t.KeysCluster] {
				continue
			}
			seen[t.KeysCluster] = true
			s.keyCluster(v, t)
		}
	}
	for _, l := range v.Listeners {
		add(l.Auth)
		for _, in := range l.Inbound {
			add(in.Auth)
		}
	}
}

func (s *scope) keyCluster(v *mesh.View, t *mesh.TokenRule) {
	cl := &mesh.Cluster{
		Name: t.KeysCluster, Kind: mesh.ClusterStrictDNS, Protocol: mesh.HTTP, Hostname: t.KeysHost, Port: t.KeysPort,
		Origins: []mesh.Origin{t.Origin},
	}
	if t.KeysTLS {
		cl.TLS = &mesh.UpstreamTLS{SNI: t.KeysHost, SANs: []string{t.KeysHost}}
	}
	v.Clusters = append(v.Clusters, cl)
	if svc := s.reach[t.KeysHost]; svc != nil && !t.External {
		cl.Kind, cl.Namespace = mesh.ClusterEDS, svc.Namespace
		k := clusterKey{host: svc.Hostname, namespace: svc.Namespace, port: t.KeysPort}
		v.Endpoints = append(v.Endpoints, &mesh.EndpointGroup{Cluster: cl.Name, Endpoints: s.cache.endpoints(k, nil)})
		return
	}
	if _, err := netip.ParseAddr(t.KeysHost); err == nil {
		cl.Kind = mesh.ClusterStatic
		if cl.TLS != nil {
			cl.TLS.SNI = ""
		}
	}
	cl.Hosts = []*mesh.Endpoint{{Address: t.KeysHost, Port: t.KeysPort, Ready: true}}
}

// reachAuthorizers lets every proxy have the clusters of external authorizers and of servers of keys, also past a Sidecar's egress.
func (s *scope) reachAuthorizers() {
	a := s.cache.world.Authz
	if a == nil {
		return
	}
	for _, p := range a.Providers {
		s.reachFor(p.Hostname)
	}
	for _, host := range a.Hosts {
		s.reachFor(host)
	}
}
