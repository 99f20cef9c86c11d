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
	s := c.scope(n)
	v := &mesh.View{Node: n, Settings: c.world.Settings}
	v.Settings.OutboundAny = s.outboundAny()
	if n.Gateway {
		s.gateway(v, n)
	} else {
		s.sidecarOutbound(v, n)
		c.inbound(v, n)
	}
	finish(v)
	return v
}

// finish sorts the lists.
func finish(v *mesh.View) {
	slices.SortFunc(v.Listeners, func(a, b *mesh.Listener) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(v.Tables, func(a, b *mesh.RouteTable) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(v.Clusters, func(a, b *mesh.Cluster) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(v.Endpoints, func(a, b *mesh.EndpointGroup) int { return cmp.Compare(a.Cluster, b.Cluster) })
}
