package view

import (
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// levels finds, among policies of which bearing tells where they apply, those that bear on a proxy: the root namespace's, its own
// namespace's, and the first that selects it, in this order; of each level the first.
func (s *scope) levels(n mesh.Node, count int, bearing func(int) *mesh.Bearing) []int {
	root := s.cache.world.Settings.RootNamespace
	found := [3]int{-1, -1, -1}
	for i := range count {
		b, level := bearing(i), -1
		switch whole := b.Selector == nil && len(b.Services)+len(b.Gateways) == 0; {
		case whole && b.Namespace == root:
			level = 0
		case whole && b.Namespace == n.Namespace:
			level = 1
		case !whole && s.cache.selects(b, n):
			level = 2
		}
		if level >= 0 && found[level] < 0 {
			found[level] = i
		}
	}
	return slices.DeleteFunc(found[:], func(i int) bool { return i < 0 })
}

// selects tells whether what a policy names, by labels or as targets, is the proxy.
func (c *Cache) selects(b *mesh.Bearing, n mesh.Node) bool {
	if len(b.Services)+len(b.Gateways) == 0 {
		return (b.Namespace == n.Namespace || b.Namespace == c.world.Settings.RootNamespace) && mesh.Selects(b.Selector, n.Labels)
	}
	return slices.ContainsFunc(b.Services, func(host string) bool { return c.standsBefore(host, n) }) ||
		slices.ContainsFunc(b.Gateways, func(name string) bool { return c.runs(name, n) })
}

// standsBefore tells whether the proxy's workload is one of those behind a host.
func (c *Cache) standsBefore(host string, n mesh.Node) bool {
	return slices.ContainsFunc(c.services[host], func(svc *mesh.Service) bool { return serves(svc, n) })
}

// serverSide tells whether what comes through a listener is seen from the workload's side rather than from a client's.
func serverSide(l *mesh.Listener) bool {
	return l.Kind == mesh.ListenInbound || l.Kind == mesh.ListenVirtualInbound
}

// reachProviders lets every proxy have the clusters of the tracing and log providers, also past a Sidecar's egress.
func (s *scope) reachProviders() {
	for _, host := range providerHosts(s.cache.world) {
		s.reachFor(host)
	}
}

// providerHosts are the services that proxies themselves call to tell of what they do.
func providerHosts(w *mesh.World) []string {
	var out []string
	if w.Tracing != nil {
		for _, p := range w.Tracing.Providers {
			out = append(out, p.Hostname)
		}
	}
	if w.Logs != nil {
		for _, p := range w.Logs.Providers {
			out = append(out, p.Hostname)
		}
	}
	return out
}
