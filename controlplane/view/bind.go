package view

import (
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/fault"
)

// entry is one route of a VirtualService as it stands in one virtual host: with the matches that can be true there.
type entry struct {
	rule    *mesh.HostRules
	index   int // of route in rule.Routes
	route   *mesh.Route
	matches []*mesh.Match // empty: everything
}

// place is where routes are bound: the gateways that count ("mesh", or a gateway's names) and the port of the request.
type place struct {
	gateways []string
	port     uint32
}

// entries binds a rule's routes. It ends at the first that matches everything: nothing after it can be reached.
func (s *scope) entries(r *mesh.HostRules, at place) []entry {
	var out []entry
	for i, route := range r.Routes {
		e := entry{rule: r, index: i, route: route}
		last := len(route.Matches) == 0
		for _, m := range route.Matches {
			if !s.holds(m, at) {
				continue
			}
			e.matches = append(e.matches, m)
			if last = m.CatchAll(); last {
				break
			}
		}
		if len(route.Matches) > 0 && len(e.matches) == 0 {
			continue
		}
		if out = append(out, e); last {
			break
		}
	}
	return out
}

// holds evaluates the static selectors. As in Istio, the source is not looked at if gateways are named.
func (s *scope) holds(m *mesh.Match, at place) bool {
	if m.Port != 0 && m.Port != at.port || len(m.Claims) > 0 && !s.node.Gateway {
		return false
	}
	if len(m.Gateways) > 0 {
		return slices.ContainsFunc(m.Gateways, func(g string) bool { return slices.Contains(at.gateways, g) })
	}
	return mesh.Selects(m.SourceLabels, s.node.Labels) && (m.SourceNamespace == "" || m.SourceNamespace == s.node.Namespace)
}

func (e entry) catchAll() bool {
	return len(e.matches) == 0 || e.matches[len(e.matches)-1].CatchAll()
}

// split parts an entry that ends by matching everything: what comes before that, if there is something, and the rest.
func (e entry) split() (before, all []entry) {
	switch last := len(e.matches) - 1; {
	case !e.catchAll():
		return []entry{e}, nil
	case last < 1:
		return nil, []entry{e}
	default:
		a, b := e, e
		a.matches, b.matches = e.matches[:last], e.matches[last:]
		return []entry{a}, []entry{b}
	}
}

// fill gives a virtual host its routes: if Mizzen's canary decides, first the routes that it chooses from; then, for
// requests on which Go did not act, Envoy's own matching.
func (s *scope) fill(vh *mesh.VirtualHost, entries []entry, at place) {
	// Claims are known to Envoy's matching only, and only once the token is read.
	decides := s.node.Host().Mizzen() && slices.ContainsFunc(entries, entry.needsCanary) && !slices.ContainsFunc(entries, entry.asksClaims)
	if decides {
		s.choices(vh, entries, at)
	}
	for _, e := range entries {
		vh.Routes = append(vh.Routes, s.native(e, at, !decides)...)
		if !slices.Contains(vh.Origins, e.rule.Origin) {
			vh.Origins = append(vh.Origins, e.rule.Origin)
		}
	}
}

// asksClaims tells whether some match looks at a token's claims.
func (e entry) asksClaims() bool {
	return slices.ContainsFunc(e.matches, func(m *mesh.Match) bool { return len(m.Claims) > 0 })
}

// native makes the Envoy routes of an entry, one for each match.
func (s *scope) native(e entry, at place, faults bool) []*mesh.BoundRoute {
	base := s.bound(e, at)
	for _, d := range live(e.route.Destinations) {
		base.Clusters = append(base.Clusters, s.weighted(d, at))
	}
	if len(base.Clusters) == 1 {
		base.Clusters[0].Weight = 100
	}
	base.Hash = s.hash(e.route.Destinations, at)
	if faults {
		base.Fault = faultConfig(e.route)
	}
	return perMatch(base, e)
}

// bound is what all Envoy routes of an entry have in common.
func (s *scope) bound(e entry, at place) mesh.BoundRoute {
	b := mesh.BoundRoute{Name: e.route.Name, Route: e.route}
	for _, m := range e.route.Mirrors {
		if name, missing := s.resolve(&m.Destination, at); !missing {
			b.Mirrors = append(b.Mirrors, &mesh.MirrorCluster{Cluster: name, PPM: m.PPM})
		}
	}
	return b
}

// perMatch multiplies a route by its entry's matches.
func perMatch(base mesh.BoundRoute, e entry) []*mesh.BoundRoute {
	if len(e.matches) == 0 {
		return []*mesh.BoundRoute{&base}
	}
	var out []*mesh.BoundRoute
	for _, m := range e.matches {
		b := base
		b.Match = m
		if n := m.Request.Name; n != "" && b.Name != "" {
			b.Name += "." + n
		}
		out = append(out, &b)
	}
	return out
}

// live leaves out destinations of weight 0 beside others.
func live(in []*mesh.Destination) []*mesh.Destination {
	if len(in) < 2 {
		return in
	}
	var out []*mesh.Destination
	for _, d := range in {
		if d.Weight > 0 {
			out = append(out, d)
		}
	}
	return out
}

func (s *scope) weighted(d *mesh.Destination, at place) *mesh.WeightedCluster {
	name, missing := s.resolve(d, at)
	return &mesh.WeightedCluster{Cluster: name, Weight: d.Weight, Headers: d.Headers, Missing: missing}
}

// resolve names a destination's cluster. Without a port it is the request's; at a gateway a service's only port.
func (s *scope) resolve(d *mesh.Destination, at place) (name string, missing bool) {
	name = mesh.OutboundCluster(s.port(d, at), d.Subset, d.Hostname)
	return name, s.named[name] == nil
}

func (s *scope) port(d *mesh.Destination, at place) uint32 {
	if d.Port != 0 {
		return d.Port
	}
	if svc := s.reach[d.Hostname]; s.node.Gateway && svc != nil && len(svc.Ports) == 1 {
		return svc.Ports[0].Number
	}
	return at.port
}

// hash collects the consistent-hash keys of the destinations' policies, without repetition.
func (s *scope) hash(ds []*mesh.Destination, at place) []*mesh.HashKey {
	var out []*mesh.HashKey
	for _, d := range live(ds) {
		name, _ := s.resolve(d, at)
		cl := s.named[name]
		if cl == nil || cl.Traffic == nil || cl.Traffic.LoadBalancer == nil || cl.Traffic.LoadBalancer.Hash == nil {
			continue
		}
		if h := cl.Traffic.LoadBalancer.Hash; !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

func faultConfig(r *mesh.Route) *fault.Config {
	if r.Fault == nil {
		return nil
	}
	return &fault.Config{Rules: []fault.Rule{*r.Fault}}
}
