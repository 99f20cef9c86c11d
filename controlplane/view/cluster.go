package view

import (
	"maps"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// buildClusters makes a cluster of every port of every service within reach, and of every subset of it.
func (s *scope) buildClusters() {
	for _, host := range slices.Sorted(maps.Keys(s.reach)) {
		s.buildCluster(s.reach[host])
	}
	s.fixed(&mesh.Cluster{Name: mesh.BlackHoleCluster, Kind: mesh.ClusterBlackHole, Protocol: mesh.TCP})
	if !s.node.Gateway {
		s.fixed(&mesh.Cluster{Name: mesh.PassthroughCluster, Kind: s.callerChooses(), Protocol: mesh.TCP})
	}
}

// fixed adds a cluster that no service has.
func (s *scope) fixed(c *mesh.Cluster) {
	s.clusters = append(s.clusters, c)
	s.named[c.Name] = c
}

// buildCluster makes the clusters of one service.
func (s *scope) buildCluster(svc *mesh.Service) {
	p := s.policy(svc)
	for _, port := range svc.Ports {
		s.addCluster(svc, port, p, nil)
		if p == nil {
			continue
		}
		for _, sub := range p.Subsets {
			s.addCluster(svc, port, p, sub)
		}
	}
}

// callerChooses is how the address that the caller asked for is found: by interception, or by resolving the name that
// an explicit proxy was given.
func (s *scope) callerChooses() mesh.ClusterKind {
	if s.node.Intercepts && !s.node.Gateway {
		return mesh.ClusterOriginalDst
	}
	return mesh.ClusterDynamicDNS
}

func (s *scope) addCluster(svc *mesh.Service, port *mesh.Port, p *mesh.Policy, sub *mesh.Subset) {
	k := clusterKey{
		host: svc.Hostname, namespace: svc.Namespace, port: port.Number, policy: p, identity: s.node.Identity, gateway: s.node.Gateway,
	}
	var traffic *mesh.Traffic
	if p != nil {
		traffic = p.Traffic.ForPort(port.Number)
	}
	if sub != nil {
		k.subset = sub.Name
		if sub.Traffic != nil {
			traffic = sub.Traffic.ForPort(port.Number)
		}
	}
	traffic = s.cache.withDefaults(traffic, port.Protocol)
	k.kind = s.clusterKind(svc, traffic)
	prefer := s.preference(traffic)
	k.near = s.near(prefer)
	cl := s.cache.clusters[k]
	if cl == nil {
		cl = s.cache.cluster(k, svc, port, sub, traffic)
		s.cache.clusters[k] = cl
		s.cache.keys[k.host] = append(s.cache.keys[k.host], k)
		if k.kind == mesh.ClusterEDS {
			s.cache.groups[k] = s.group(cl, prefer, s.cache.endpoints(k, sub))
		}
		s.prefer(cl, prefer)
	}
	s.clusters = append(s.clusters, cl)
	s.named[cl.Name] = cl
	if g := s.cache.groups[k]; g != nil {
		s.endpoints = append(s.endpoints, g)
	}
}

// group makes an EDS cluster's endpoints.
func (s *scope) group(cl *mesh.Cluster, l *mesh.Locality, list []*mesh.Endpoint) *mesh.EndpointGroup {
	if l == nil {
		return &mesh.EndpointGroup{Cluster: cl.Name, Endpoints: list, Named: s.cache.world.Metrics != nil}
	}
	places := s.places(l, list)
	if !slices.ContainsFunc(places, func(p *mesh.Place) bool { return p.Priority > 0 || p.Weight > 0 }) && s.shares(l) == nil {
		return &mesh.EndpointGroup{Cluster: cl.Name, Endpoints: list, Named: s.cache.world.Metrics != nil} // alike after all
	}
	return &mesh.EndpointGroup{Cluster: cl.Name, Places: places, Named: s.cache.world.Metrics != nil}
}

// prefer arranges a cluster's own hosts.
func (s *scope) prefer(cl *mesh.Cluster, l *mesh.Locality) {
	if l == nil {
		return
	}
	cl.Distributed = s.shares(l) != nil
	if cl.Kind == mesh.ClusterStrictDNS {
		cl.Places = s.places(l, cl.Hosts)
	}
}

func (s *scope) clusterKind(svc *mesh.Service, t *mesh.Traffic) mesh.ClusterKind {
	if t != nil && t.LoadBalancer != nil && t.LoadBalancer.Kind == "PASSTHROUGH" {
		return s.callerChooses()
	}
	switch svc.Resolution {
	case mesh.ResolutionDNS:
		return mesh.ClusterStrictDNS
	case mesh.ResolutionDNSRoundRobin:
		return mesh.ClusterLogicalDNS
	case mesh.ResolutionDynamicDNS:
		s.dynamic = true
		return mesh.ClusterDynamicDNS
	case mesh.ResolutionNone:
		return s.callerChooses()
	}
	return mesh.ClusterEDS
}

func (c *Cache) cluster(k clusterKey, svc *mesh.Service, port *mesh.Port, sub *mesh.Subset, t *mesh.Traffic) *mesh.Cluster {
	cl := &mesh.Cluster{
		Name: mesh.OutboundCluster(k.port, k.subset, k.host), Kind: k.kind, Protocol: port.Protocol, Traffic: t,
		Hostname: k.host, Namespace: k.namespace, Subset: k.subset, Port: k.port,
		Origins: []mesh.Origin{svc.Origin}, StatName: statName(c.world.Settings.OutboundStat, svc, port, k.subset, 0),
	}
	cl.TLS = c.upstreamTLS(k, svc, cl)
	switch {
	case sub != nil:
		cl.Origins = append(cl.Origins, sub.Origin)
	case k.policy != nil:
		cl.Origins = append(cl.Origins, k.policy.Origin)
	}
	if k.kind == mesh.ClusterStrictDNS || k.kind == mesh.ClusterLogicalDNS {
		cl.Hosts = c.endpoints(k, sub)
		if len(cl.Hosts) != 1 {
			cl.Kind = mesh.ClusterStrictDNS // a logical one has just one host: not none, as a subset may have
		}
	}
	return cl
}

// endpoints returns the usable addresses of a port, those of a subset if it is one, sorted as the World has them.
func (c *Cache) endpoints(k clusterKey, sub *mesh.Subset) []*mesh.Endpoint {
	var out []*mesh.Endpoint
	for _, e := range c.world.Endpoints[mesh.EndpointKey{Hostname: k.host, Namespace: k.namespace, Port: k.port}] {
		if !e.Ready && !e.Draining || sub != nil && !mesh.Selects(sub.Labels, e.Labels) {
			continue
		}
		out = append(out, e)
	}
	// One address with several sets of labels is one host to Envoy.
	return slices.CompactFunc(out, func(a, b *mesh.Endpoint) bool { return a.Address == b.Address && a.Port == b.Port })
}
