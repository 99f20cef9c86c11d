package view

import (
	"net/netip"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Names are the host names that one proxy may know, with the addresses to connect to, for its agent's DNS server: sorted by host. A
// service without an address of its own has those of its endpoints; a host without any is left out, and looked up elsewhere.
func Names(w *mesh.World, n mesh.Node) []*mesh.Name { return NewCache(w).names(n) }

// Names are those of a proxy in the Tracker's World. Equal keys have equal names.
func (t *Tracker) Names(n mesh.Node) (key string, names func() []*mesh.Name) {
	key = t.cache.scopeID(n, t.cache.sidecarOf(n))
	return key, func() []*mesh.Name { return t.cache.names(n) }
}

func (c *Cache) names(n mesh.Node) []*mesh.Name {
	s := &scope{cache: c, node: n, sidecar: c.sidecarOf(n), reach: map[string]*mesh.Service{}}
	s.importServices()
	var out []*mesh.Name
	for _, svc := range s.services {
		name := &mesh.Name{Host: svc.Hostname, ShortName: svc.ShortName}
		if svc.ShortName != "" {
			name.Namespace = svc.Namespace
		}
		for _, a := range s.addressesOf(svc) {
			ip, err := netip.ParseAddr(a)
			if err != nil || ip.IsUnspecified() || !n.Families.Has(ip) || slices.Contains(name.Addresses, a) {
				continue
			}
			name.Addresses = append(name.Addresses, a)
		}
		if len(name.Addresses) > 0 {
			out = append(out, name)
		}
	}
	return out
}

// addressesOf are the service's own, else those that it was given, else, of a Service of Kubernetes, those of its ready endpoints.
func (s *scope) addressesOf(svc *mesh.Service) []string {
	switch {
	case len(svc.Addresses) > 0:
		return svc.Addresses
	case len(svc.Auto) > 0 || svc.ShortName == "":
		return svc.Auto
	}
	var out []string
	for _, p := range svc.Ports {
		for _, e := range s.cache.world.Endpoints[mesh.EndpointKey{Hostname: svc.Hostname, Namespace: svc.Namespace, Port: p.Number}] {
			if e.Ready {
				out = append(out, e.Address)
			}
		}
	}
	slices.Sort(out)
	return out
}
