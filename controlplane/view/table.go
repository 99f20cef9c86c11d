package view

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// ProxyTable is the route table of an explicit HTTP proxy, as in Istio.
const ProxyTable = "http_proxy"

// tcpPort is a service port that is not routed by request.
type tcpPort struct {
	service *mesh.Service
	port    *mesh.Port
}

// buildTables makes the sidecar's outbound route tables: one for each HTTP port, or one for all behind an explicit proxy.
func (s *scope) buildTables() {
	shared, proxied := map[uint32][]*mesh.VirtualHost{}, map[uint32][]*mesh.VirtualHost{}
	bound := map[uint32]bool{}
	for _, svc := range s.services {
		for _, p := range svc.Ports {
			if p.Protocol.IsBytes() {
				s.tcp = append(s.tcp, tcpPort{svc, p})
			}
			if !p.Protocol.IsHTTP() {
				continue
			}
			vh := s.serviceHost(svc, p.Number)
			if s.node.HTTPProxyPort != 0 {
				proxied[p.Number] = append(proxied[p.Number], s.proxiedHost(vh, tcpPort{svc, p}))
			}
			shares := s.sharesTable(svc, p)
			if shares {
				shared[p.Number] = append(shared[p.Number], vh)
			}
			switch {
			case shares && (p.Protocol != mesh.Detected || len(autoAddresses(svc, s.node)) == 0):
			case p.Protocol == mesh.Detected && (s.node.Intercepts || binds(p) && !bound[p.Number]):
				bound[p.Number] = true // nothing leads to that of others: see tcpListeners
				s.ownTable(vh)
			}
		}
	}
	s.socketTables()
	extra := s.serviceless()
	if s.node.HTTPProxyPort != 0 {
		s.proxyTable(proxied, extra)
	}
	for _, port := range slices.Sorted(maps.Keys(shared)) {
		hosts := shared[port]
		if port == 80 {
			hosts = append(hosts, extra...)
		}
		s.tables = append(s.tables, &mesh.RouteTable{
			Name: portString(port), VirtualHosts: distinct(hosts), CatchAll: s.catchAll(false),
		})
	}
}

// proxyTable joins the hosts of every port: a name without a port is the one on port 80, as an HTTP client means it.
func (s *scope) proxyTable(byPort map[uint32][]*mesh.VirtualHost, extra []*mesh.VirtualHost) {
	var all []*mesh.VirtualHost
	for _, port := range slices.Sorted(maps.Keys(byPort)) {
		for _, vh := range byPort[port] {
			all = append(all, withDomains(vh, port))
		}
	}
	all = append(all, extra...)
	for _, t := range s.tcp {
		if t.port.Number != 80 && !t.port.Protocol.IsHTTP() {
			all = append(all, withDomains(s.connectHost(t), t.port.Number))
		}
	}
	s.tables = append(s.tables, &mesh.RouteTable{
		Name: ProxyTable, VirtualHosts: distinct(all), CatchAll: s.catchAll(true), Proxy: true,
	})
}

// withDomains drops the domains without a port, except on port 80.
func withDomains(vh *mesh.VirtualHost, port uint32) *mesh.VirtualHost {
	if port == 80 {
		return vh
	}
	out := *vh
	out.Domains = nil
	for _, d := range vh.Domains {
		if strings.HasSuffix(d, ":"+portString(port)) {
			out.Domains = append(out.Domains, d)
		}
	}
	return &out
}

// serviceHost makes the virtual host of a service port.
func (s *scope) serviceHost(svc *mesh.Service, port uint32) *mesh.VirtualHost {
	vh := &mesh.VirtualHost{
		Name:    svc.Hostname + ":" + portString(port),
		Domains: s.domains(svc, port),
		Origins: []mesh.Origin{svc.Origin},
	}
	at := place{gateways: []string{mesh.MeshGateway}, port: port}
	if r := s.ruleFor(svc.Hostname); r != nil {
		if entries := s.entries(r, at); len(entries) > 0 {
			s.fill(vh, entries, at)
			return vh
		}
	}
	vh.Routes = []*mesh.BoundRoute{s.defaultRoute(svc.Hostname, port)}
	return vh
}

// defaultRoute leads to the service itself.
func (s *scope) defaultRoute(host string, port uint32) *mesh.BoundRoute {
	d := &mesh.Destination{Hostname: host, Port: port, Weight: 100}
	at := place{port: port}
	return &mesh.BoundRoute{
		Name:     "default",
		Route:    &mesh.Route{Name: "default", Destinations: []*mesh.Destination{d}},
		Clusters: []*mesh.WeightedCluster{s.weighted(d, at)},
		Hash:     s.hash([]*mesh.Destination{d}, at),
	}
}

// serviceless makes the virtual hosts of rules for hosts that no service has: in force on port 80 only, as in Istio.
func (s *scope) serviceless() []*mesh.VirtualHost {
	hosts := slices.Collect(maps.Keys(s.exact))
	for _, w := range s.wild {
		hosts = append(hosts, w.host)
	}
	slices.Sort(hosts)
	var out []*mesh.VirtualHost
	for _, h := range slices.Compact(hosts) {
		if s.anyService(h) {
			continue
		}
		if vh := s.ruleHost(h); vh != nil {
			out = append(out, vh)
		}
	}
	return out
}

// ruleHost makes the virtual host of a rule's host that no service has; nil if nothing of the rule holds there.
func (s *scope) ruleHost(h string) *mesh.VirtualHost {
	at := place{gateways: []string{mesh.MeshGateway}, port: 80}
	entries := s.entries(s.ruleFor(h), at)
	if len(entries) == 0 {
		return nil
	}
	vh := &mesh.VirtualHost{Name: h + ":80", Domains: []string{h, h + ":80"}}
	s.fill(vh, entries, at)
	return vh
}

func (s *scope) anyService(host string) bool {
	return slices.ContainsFunc(s.services, func(v *mesh.Service) bool { return mesh.HostCovers(host, v.Hostname) })
}

// connectHost lets an explicit proxy's clients tunnel to a port that is not HTTP.
func (s *scope) connectHost(t tcpPort) *mesh.VirtualHost {
	return &mesh.VirtualHost{
		Name:    t.service.Hostname + ":" + portString(t.port.Number),
		Domains: s.domains(t.service, t.port.Number),
		Routes:  []*mesh.BoundRoute{s.connectRoute(t)},
		Origins: []mesh.Origin{t.service.Origin},
	}
}

// catchAll is what becomes of requests for unknown hosts.
func (s *scope) catchAll(proxy bool) *mesh.VirtualHost {
	if !s.outboundAny() {
		return &mesh.VirtualHost{Name: "block_all", Domains: []string{"*"}, Routes: []*mesh.BoundRoute{{
			Name: "block_all", Route: &mesh.Route{Name: "block_all", Direct: &mesh.DirectResponse{Status: 502}},
		}}}
	}
	pass := mesh.BoundRoute{
		Name:     "allow_any",
		Route:    &mesh.Route{Name: "allow_any", Retries: &mesh.Retries{}},
		Clusters: []*mesh.WeightedCluster{{Cluster: cmp.Or(s.egressProxy(), mesh.PassthroughCluster)}},
	}
	vh := &mesh.VirtualHost{Name: "allow_any", Domains: []string{"*"}, Routes: []*mesh.BoundRoute{&pass}}
	if proxy {
		connect := pass
		connect.Connect = true
		vh.Routes = []*mesh.BoundRoute{&connect, &pass}
	}
	return vh
}

// domains are the names by which a client of the scope's namespace may call a service port, each with and without port.
func (s *scope) domains(svc *mesh.Service, port uint32) []string {
	names := []string{svc.Hostname}
	suffix := ".svc." + s.cache.world.Settings.DomainSuffix
	if short, ok := strings.CutSuffix(svc.Hostname, suffix); ok && !mesh.IsWildcard(svc.Hostname) {
		name, ns, _ := strings.Cut(short, ".")
		if ns == s.node.Namespace {
			names = append(names, name)
		}
		names = append(names, short+".svc", short)
	}
	for _, a := range svc.Addresses {
		switch {
		case strings.Contains(a, "/"), a == "0.0.0.0", a == "::":
		case strings.Contains(a, ":"):
			names = append(names, "["+a+"]")
		default:
			names = append(names, a)
		}
	}
	out := make([]string, 0, 2*len(names))
	for _, n := range names {
		out = append(out, n, n+":"+portString(port))
	}
	return out
}

// distinct sorts virtual hosts by name and takes care that no domain stands twice, which Envoy would refuse: the first
// host in the order given keeps it.
func distinct(hosts []*mesh.VirtualHost) []*mesh.VirtualHost {
	domains, names := map[string]bool{}, map[string]bool{}
	var out []*mesh.VirtualHost
	for _, vh := range hosts {
		keep := make([]string, 0, len(vh.Domains))
		for _, d := range vh.Domains {
			if k := strings.ToLower(d); !domains[k] {
				domains[k] = true
				keep = append(keep, d)
			}
		}
		if len(keep) == 0 || names[vh.Name] {
			continue
		}
		names[vh.Name] = true
		if len(keep) < len(vh.Domains) {
			cut := *vh
			cut.Domains = keep
			vh = &cut
		}
		out = append(out, vh)
	}
	slices.SortFunc(out, func(a, b *mesh.VirtualHost) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func portString(p uint32) string { return strconv.FormatUint(uint64(p), 10) }
