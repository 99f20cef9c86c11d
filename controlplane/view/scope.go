package view

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// scope is what a proxy may see outbound. It is built once, under the Cache's lock, and then only read.
type scope struct {
	cache   *Cache
	node    mesh.Node // one of the proxies of the scope: only what the scope's key names may be read
	sidecar *mesh.Sidecar
	dynamic bool   // a service's requests go to the host that they name
	home    string // where the proxies are, "region/zone/subzone"

	services []*mesh.Service          // imported, one for each host name, sorted
	reach    map[string]*mesh.Service // services, and those that imported rules lead to
	rules    []*mesh.HostRules        // visible, in order of precedence
	exact    map[string]*mesh.HostRules
	wild     []wildRule

	policyOf map[string]*mesh.Policy // by host name; nil values are remembered

	tables    []*mesh.RouteTable
	clusters  []*mesh.Cluster
	named     map[string]*mesh.Cluster
	endpoints []*mesh.EndpointGroup
	tcp       []tcpPort
}

type wildRule struct {
	host string
	rule *mesh.HostRules
}

func newScope(c *Cache, n mesh.Node, sc *mesh.Sidecar) *scope {
	s := &scope{
		cache: c, node: n, sidecar: sc, home: c.localityOf(n),
		reach: map[string]*mesh.Service{}, exact: map[string]*mesh.HostRules{},
		policyOf: map[string]*mesh.Policy{}, named: map[string]*mesh.Cluster{},
	}
	s.importServices()
	s.importRules()
	s.reachProviders()
	s.reachAuthorizers()
	s.buildClusters()
	if !n.Gateway {
		s.buildTables()
	}
	slices.SortFunc(s.tables, byTable)
	slices.SortFunc(s.clusters, byCluster)
	slices.SortFunc(s.endpoints, byGroup)
	return s
}

func (s *scope) outboundAny() bool {
	if s.sidecar != nil && s.sidecar.OutboundAny != nil {
		return *s.sidecar.OutboundAny
	}
	return s.cache.world.Settings.OutboundAny
}

// importServices keeps, of each host name, the service that the namespace gets.
func (s *scope) importServices() {
	for host := range s.cache.services {
		if best := s.importHost(host); best != nil {
			s.services = append(s.services, best)
			s.reach[host] = best
		}
	}
	slices.SortFunc(s.services, func(a, b *mesh.Service) int { return cmp.Compare(a.Hostname, b.Hostname) })
}

// importHost picks the service that a host name means here; nil if none is imported.
func (s *scope) importHost(host string) *mesh.Service {
	var best *mesh.Service
	for _, svc := range s.cache.services[host] {
		if cut := s.imported(svc); cut != nil && s.better(cut, best) {
			best = cut
		}
	}
	return best
}

// better prefers the proxy's own namespace, then Kubernetes' services, then the first.
func (s *scope) better(a, b *mesh.Service) bool {
	rank := func(v *mesh.Service) int {
		switch {
		case v.Namespace == s.node.Namespace:
			return 0
		case v.ShortName != "":
			return 1
		}
		return 2
	}
	return b == nil || rank(a) < rank(b)
}

// imported returns the service as the Sidecar's egress lets it through (perhaps with fewer ports); nil if not at all.
func (s *scope) imported(svc *mesh.Service) *mesh.Service {
	if !svc.Visibility.In(s.node.Namespace) {
		return nil
	}
	if s.sidecar == nil || s.sidecar.Egress == nil {
		return svc
	}
	all, ports := false, map[uint32]bool{}
	for _, e := range s.sidecar.Egress {
		ns, exclude := strings.CutPrefix(e.Namespace, "~")
		if exclude && ns == "" || ns != "*" && ns != svc.Namespace || !mesh.HostCovers(e.Host, svc.Hostname) {
			continue
		}
		switch {
		case exclude:
			return nil
		case e.Port == 0:
			all = true
		default:
			ports[e.Port] = true
		}
	}
	if all {
		return svc
	}
	cut := *svc
	cut.Ports = nil
	for _, p := range svc.Ports {
		if ports[p.Number] {
			cut.Ports = append(cut.Ports, p)
		}
	}
	if cut.Ports == nil {
		return nil
	}
	return &cut
}

// importRules keeps the VirtualServices that bind here, and reaches for the services that they lead to: a rule that is
// seen works, even if its destination is not imported by itself.
func (s *scope) importRules() {
	for _, r := range s.cache.world.Rules {
		if !r.Visibility.In(s.node.Namespace) || !s.importsRule(r) {
			continue
		}
		s.rules = append(s.rules, r)
		for _, route := range r.Routes {
			for _, d := range route.Destinations {
				s.reachFor(d.Hostname)
			}
			for _, m := range route.Mirrors {
				s.reachFor(m.Destination.Hostname)
			}
		}
		for _, l := range slices.Concat(r.TCP, r.TLS) {
			for _, d := range l.Destinations {
				s.reachFor(d.Hostname)
			}
		}
		if s.node.Gateway || !slices.Contains(r.Gateways, mesh.MeshGateway) || len(r.Routes) == 0 {
			continue
		}
		for _, h := range r.Hosts {
			if h == "*" {
				continue // not a host of the mesh, as in Istio
			}
			if mesh.IsWildcard(h) {
				s.wild = append(s.wild, wildRule{h, r})
			} else if s.exact[h] == nil {
				s.exact[h] = r
			}
		}
	}
	slices.SortStableFunc(s.wild, func(a, b wildRule) int { return cmp.Compare(len(b.host), len(a.host)) })
}

func (s *scope) importsRule(r *mesh.HostRules) bool {
	bound := slices.ContainsFunc(r.Gateways, func(g string) bool { return (g == mesh.MeshGateway) != s.node.Gateway })
	if !bound || s.sidecar == nil || s.sidecar.Egress == nil {
		return bound
	}
	for _, e := range s.sidecar.Egress {
		for _, h := range r.Hosts {
			if _, ok := mesh.HostIntersection(e.Host, h); ok && (e.Namespace == "*" || e.Namespace == r.Namespace) {
				return true
			}
		}
	}
	return false
}

func (s *scope) reachFor(host string) {
	if s.reach[host] != nil {
		return
	}
	var best *mesh.Service
	for _, svc := range s.cache.services[host] {
		if svc.Visibility.In(s.node.Namespace) && s.better(svc, best) {
			best = svc
		}
	}
	if best != nil {
		s.reach[host] = best
	}
}

// ruleFor returns the rule in force for a host in the mesh: of the most specific host pattern, the oldest.
func (s *scope) ruleFor(host string) *mesh.HostRules {
	if r := s.exact[host]; r != nil {
		return r
	}
	for _, w := range s.wild {
		if mesh.HostCovers(w.host, host) {
			return w.rule
		}
	}
	return nil
}

// policy returns the DestinationRule in force for a service: looked for in the client's namespace, the service's, the
// root namespace; an exact host before a wildcard.
func (s *scope) policy(svc *mesh.Service) *mesh.Policy {
	if svc == nil {
		return nil
	}
	p, ok := s.policyOf[svc.Hostname]
	if !ok {
		p = s.findPolicy(svc)
		s.policyOf[svc.Hostname] = p
	}
	return p
}

func (s *scope) findPolicy(svc *mesh.Service) *mesh.Policy {
	own := s.node.Namespace
	for _, ns := range []string{own, svc.Namespace, s.cache.world.Settings.RootNamespace} {
		for host := svc.Hostname; host != ""; host = mesh.Wider(host) {
			if p := s.pick(s.cache.policies[policyKey{ns, host}], ns == own); p != nil {
				return p
			}
		}
	}
	return nil
}

// pick takes the first that selects the client by its labels, else the first for all.
func (s *scope) pick(list []*mesh.Policy, own bool) *mesh.Policy {
	var found *mesh.Policy
	for _, p := range list {
		switch {
		case !own && !p.Visibility.In(s.node.Namespace):
		case p.Selector != nil:
			if own && mesh.Selects(p.Selector, s.node.Labels) {
				return p
			}
		case found == nil:
			found = p
		}
	}
	return found
}
