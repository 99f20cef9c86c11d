package view

import (
	"reflect"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// holds4 evaluates a TCP or TLS match's static selectors for one proxy.
func holds4(m *mesh.L4Match, n mesh.Node, at place) bool {
	if m.Port != 0 && m.Port != at.port {
		return false
	}
	if len(m.Gateways) > 0 {
		return slices.ContainsFunc(m.Gateways, func(g string) bool { return slices.Contains(at.gateways, g) })
	}
	return mesh.Selects(m.SourceLabels, n.Labels) && (m.SourceNamespace == "" || m.SourceNamespace == n.Namespace)
}

// bytesChain is a chain to a route's destinations.
func (s *scope) bytesChain(r *mesh.HostRules, l *mesh.L4Route, at place) *mesh.Chain {
	ch := &mesh.Chain{Name: r.Name + "." + r.Namespace, Origins: []mesh.Origin{l.Origin}}
	for _, d := range live(l.Destinations) {
		ch.Clusters = append(ch.Clusters, s.weighted(d, at))
	}
	s.settle(ch)
	return ch
}

// clusterChain is a chain to one cluster.
func (s *scope) clusterChain(cluster string, from mesh.Origin) *mesh.Chain {
	ch := &mesh.Chain{Name: cluster, Clusters: []*mesh.WeightedCluster{{Cluster: cluster}}, Origins: []mesh.Origin{from}}
	s.settle(ch)
	return ch
}

// settle takes from the policies of the chain's clusters what is no matter of clusters to Envoy: the first one's idle timeout, and the
// tunnel, if they are alike in that.
func (s *scope) settle(ch *mesh.Chain) {
	for i, w := range ch.Clusters {
		var t mesh.Traffic
		if c := s.named[w.Cluster]; c != nil && c.Traffic != nil {
			t = *c.Traffic
		}
		if i == 0 {
			if c := s.named[w.Cluster]; c != nil && c.Kind == mesh.ClusterDynamicDNS {
				ch.NamePort = c.Port
			}
			ch.Tunnel = t.Tunnel
			if t.Pool != nil {
				ch.IdleTimeout = t.Pool.TCPIdleTimeout
			}
		} else if !reflect.DeepEqual(t.Tunnel, ch.Tunnel) {
			ch.Tunnel = nil
		}
	}
}

// tcpChains adds what the tcp routes of a rule say at a place: a chain for each range of addresses, and one for the rest, with
// which it ends. It tells whether there was one for the rest.
func (s *scope) tcpChains(set *chainSet, r *mesh.HostRules, n mesh.Node, at place) bool {
	for _, l := range r.TCP {
		if len(l.Matches) == 0 {
			set.add(s.bytesChain(r, l, at))
			return true
		}
		for _, m := range l.Matches {
			if !holds4(m, n, at) {
				continue
			}
			ch := s.bytesChain(r, l, at)
			ch.Destinations = m.Subnets
			if len(m.Subnets) > 0 {
				ch.Name += "." + strings.Join(m.Subnets, ",")
			}
			set.add(ch)
			if len(m.Subnets) == 0 {
				return true
			}
		}
	}
	return false
}

// tlsChains adds a chain for each match of a rule's tls routes whose server names meet those of hosts.
func (s *scope) tlsChains(set *chainSet, r *mesh.HostRules, hosts []string, n mesh.Node, at place) {
	for _, l := range r.TLS {
		for _, m := range l.Matches {
			if !holds4(m, n, at) {
				continue
			}
			var names []string
			for _, sni := range m.SNI {
				for _, h := range hosts {
					if both, ok := mesh.HostIntersection(h, sni); ok && !slices.Contains(names, both) {
						names = append(names, both)
					}
				}
			}
			if len(names) == 0 {
				continue
			}
			ch := s.bytesChain(r, l, at)
			ch.Name += "." + names[0]
			ch.SNI, ch.TransportTLS, ch.Destinations = names, true, m.Subnets
			if slices.Contains(names, "*") {
				ch.SNI = nil
			}
			set.add(ch)
		}
	}
}

// meshRules are those with routes for bytes that bear on a host in the mesh, in order of precedence.
func (s *scope) meshRules(host string) []*mesh.HostRules {
	var out []*mesh.HostRules
	for _, r := range s.rules {
		if len(r.TCP)+len(r.TLS) == 0 || !slices.Contains(r.Gateways, mesh.MeshGateway) {
			continue
		}
		if slices.ContainsFunc(r.Hosts, func(h string) bool { return mesh.HostCovers(h, host) || mesh.HostCovers(host, h) }) {
			out = append(out, r)
		}
	}
	return out
}

// routeBytes gives the listener of a TCP or TLS service port its chains; what no rule takes goes to the service.
func (s *scope) routeBytes(l *mesh.Listener, t tcpPort, n mesh.Node) {
	at := place{gateways: []string{mesh.MeshGateway}, port: t.port.Number}
	var set chainSet
	for _, r := range s.meshRules(t.service.Hostname) {
		if t.port.Protocol != mesh.TCP {
			s.tlsChains(&set, r, sniHosts(r, t.service.Hostname), n, at)
		}
		if s.tcpChains(&set, r, n, at) {
			l.Cluster = ""
			break
		}
	}
	l.Chains = set.chains
	for _, ch := range l.Chains {
		l.Origins = append(l.Origins, ch.Origins...)
	}
}

// sniHosts are the server names that a rule may speak of at a service: the service's own, and the rule's hosts that are among
// them.
func sniHosts(r *mesh.HostRules, host string) []string {
	var out []string
	for _, h := range r.Hosts {
		if both, ok := mesh.HostIntersection(h, host); ok {
			out = append(out, both)
		}
	}
	return out
}

// serverNameChains are those of a TLS service without an address of its own, which shares its port with others: connections
// are told apart by the server names in them.
func (s *scope) serverNameChains(set *chainSet, t tcpPort, n mesh.Node) {
	at := place{gateways: []string{mesh.MeshGateway}, port: t.port.Number}
	for _, r := range s.meshRules(t.service.Hostname) {
		s.tlsChains(set, r, sniHosts(r, t.service.Hostname), n, at)
	}
	if t.service.Hostname == "*" {
		return
	}
	ch := s.clusterChain(mesh.OutboundCluster(t.port.Number, "", t.service.Hostname), t.service.Origin)
	ch.SNI, ch.TransportTLS = []string{t.service.Hostname}, true
	set.add(ch)
}

// connectRoute is where an explicit proxy's clients are tunnelled to for a port that is not HTTP: as the first tcp or tls route
// says that is for the whole of it.
func (s *scope) connectRoute(t tcpPort) *mesh.BoundRoute {
	b := s.defaultRoute(t.service.Hostname, t.port.Number)
	b.Connect = true
	ch := s.connectChain(t)
	if ch == nil {
		ch = &mesh.Chain{Clusters: b.Clusters}
		s.settle(ch)
	}
	b.Clusters, b.Tunnel = ch.Clusters, ch.Tunnel
	if b.Tunnel != nil && b.Tunnel.Post {
		b.Clusters, b.Tunnel = nil, nil
		b.Route = &mesh.Route{Name: b.Name, Direct: &mesh.DirectResponse{
			Status: 501, Body: "a tunnel by POST begins with a connection to the service's own port, not with CONNECT\n",
		}}
	}
	return b
}

// connectChain is what rules say of a whole port; nil if they say nothing.
func (s *scope) connectChain(t tcpPort) *mesh.Chain {
	at := place{gateways: []string{mesh.MeshGateway}, port: t.port.Number}
	for _, r := range s.meshRules(t.service.Hostname) {
		var set chainSet
		if t.port.Protocol != mesh.TCP {
			s.tlsChains(&set, r, sniHosts(r, t.service.Hostname), s.node, at)
		}
		s.tcpChains(&set, r, s.node, at)
		for _, ch := range set.chains {
			if len(ch.Destinations) == 0 && (len(ch.SNI) == 0 || slices.Contains(ch.SNI, t.service.Hostname)) {
				return ch
			}
		}
	}
	return nil
}
