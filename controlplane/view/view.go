// Package view cuts out of the World what one proxy may know: its listeners, route tables, clusters and endpoints, named
// as Istio names them. It is pure; equal parts are shared between the views of one Cache.
package view

import (
	"cmp"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Of returns the view of one proxy. Views of many proxies of one World cost less through a Cache.
func Of(w *mesh.World, n mesh.Node) *mesh.View { return NewCache(w).Of(n) }

// Of returns the view of one proxy, which shares with earlier views what is equal.
func (c *Cache) Of(n mesh.Node) *mesh.View {
	n = c.listening(n)
	s := c.scope(n)
	v := c.own(s, n)
	share(v, s)
	return v
}

// own makes what is the proxy's alone, beside its scope's: listeners, what stands before the workload, a gateway's tables.
func (c *Cache) own(s *scope, n mesh.Node) *mesh.View {
	v := &mesh.View{Node: n, Settings: c.settings(n)}
	v.Settings.OutboundAny = s.outboundAny()
	if n.Gateway {
		s.gateway(v, n)
	} else {
		s.sidecarOutbound(v, n)
		c.inbound(v, n)
	}
	c.limitCluster(v)
	s.trace(v)
	s.accessLogs(v)
	s.metrics(v)
	s.authorize(v, n)
	c.extend(v, n)
	s.nameStats(v)
	v.Patches = c.patches(n)
	for _, l := range v.Listeners {
		l.DynamicDNS = s.dynamic && (l.Kind == mesh.ListenHTTPProxy || l.Kind == mesh.ListenOutboundHTTP || l.Kind == mesh.ListenGateway)
	}
	return v
}

// share adds to the view the scope's lists, which are sorted, and keeps them so for what is the proxy's own.
func share(v *mesh.View, s *scope) {
	v.Tables = merged(s.tables, v.Tables, byTable)
	v.Clusters = merged(s.clusters, v.Clusters, byCluster)
	v.Endpoints = merged(s.endpoints, v.Endpoints, byGroup)
	slices.SortFunc(v.Listeners, func(a, b *mesh.Listener) int { return cmp.Compare(a.Name, b.Name) })
}

func byTable(a, b *mesh.RouteTable) int    { return cmp.Compare(a.Name, b.Name) }
func byCluster(a, b *mesh.Cluster) int     { return cmp.Compare(a.Name, b.Name) }
func byGroup(a, b *mesh.EndpointGroup) int { return cmp.Compare(a.Cluster, b.Cluster) }

// merged inserts the few of extra into a copy of sorted.
func merged[T any](sorted, extra []T, order func(a, b T) int) []T {
	out := make([]T, len(sorted), len(sorted)+len(extra))
	copy(out, sorted)
	for _, e := range extra {
		i, _ := slices.BinarySearchFunc(out, e, order)
		out = slices.Insert(out, i, e)
	}
	return out
}
