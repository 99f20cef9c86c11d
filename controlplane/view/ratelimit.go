package view

import (
	"net/netip"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// askService has the limits of scope global asked for, if there are some and a service to ask.
func (c *Cache) askService(cfg *ratelimit.Config) {
	s := c.world.Settings.LimitService
	if cfg == nil || s == nil || !slices.ContainsFunc(cfg.Limits, func(l ratelimit.Limit) bool { return l.Scope == ratelimit.ScopeGlobal }) {
		return
	}
	cfg.Global = &ratelimit.Global{Cluster: mesh.LimitCluster, Timeout: filter.Duration(s.Timeout)}
}

// limitCluster adds the cluster of the rate-limit service to a view that asks it. It has a name of its own: the proxy needs it
// whatever its Sidecar lets it see.
func (c *Cache) limitCluster(v *mesh.View) {
	if !slices.ContainsFunc(v.Tables, asks) {
		return
	}
	s := c.world.Settings.LimitService
	cl := &mesh.Cluster{Name: mesh.LimitCluster, Protocol: mesh.GRPC, Hostname: s.Hostname, Namespace: s.Namespace, Port: s.Port}
	v.Clusters = append(v.Clusters, cl)
	if s.Hostname == "" {
		cl.Kind, cl.Hosts = mesh.ClusterStrictDNS, []*mesh.Endpoint{{Address: s.Address, Port: s.Port, Ready: true}}
		if _, err := netip.ParseAddr(s.Address); err == nil {
			cl.Kind = mesh.ClusterStatic
		}
		return
	}
	cl.Kind = mesh.ClusterEDS
	k := clusterKey{host: s.Hostname, namespace: s.Namespace, port: s.Port}
	v.Endpoints = append(v.Endpoints, &mesh.EndpointGroup{Cluster: cl.Name, Endpoints: c.endpoints(k, nil)})
}

// asks tells whether some host of the table has limits that are asked for.
func asks(t *mesh.RouteTable) bool {
	ask := func(h *mesh.VirtualHost) bool { return h != nil && h.RateLimit != nil && h.RateLimit.Global != nil }
	return ask(t.CatchAll) || slices.ContainsFunc(t.VirtualHosts, ask)
}
