package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// serviceEntries makes a Service of every host of every ServiceEntry. Entries of one namespace that name the same host
// add up: the older entry's ports stand, endpoints join.
func (c *compiler) serviceEntries() {
	type key struct{ host, namespace string }
	seen := map[key]*mesh.Service{}
	for _, o := range c.set.ServiceEntries {
		for i, host := range o.Spec.GetHosts() {
			host = strings.ToLower(host)
			s := c.serviceEntry(o, i, host)
			k := key{s.Hostname, s.Namespace}
			if first := seen[k]; first != nil {
				c.joinEntry(first, s, o, i)
				s = first
			} else {
				seen[k] = s
				c.world.Services = append(c.world.Services, s)
			}
			c.entryEndpoints(s, o)
		}
	}
}

func (c *compiler) serviceEntry(o *istio.Object[*networking.ServiceEntry], i int, host string) *mesh.Service {
	spec := o.Spec
	s := &mesh.Service{
		Hostname:   host,
		Namespace:  o.Namespace,
		Addresses:  canonical(spec.GetAddresses()),
		SANs:       spec.GetSubjectAltNames(),
		External:   spec.GetLocation() == networking.ServiceEntry_MESH_EXTERNAL,
		Visibility: c.entryVisibility(o),
		Origin:     origin(&o.Meta, fmt.Sprintf("spec.hosts[%d]", i)),
	}
	if sel := spec.GetWorkloadSelector().GetLabels(); len(sel) > 0 {
		s.Selector = sel
	}
	switch spec.GetResolution() {
	case networking.ServiceEntry_STATIC:
		s.Resolution = mesh.ResolutionStatic
	case networking.ServiceEntry_DNS:
		s.Resolution = mesh.ResolutionDNS
	case networking.ServiceEntry_DNS_ROUND_ROBIN:
		s.Resolution = mesh.ResolutionDNSRoundRobin
	case networking.ServiceEntry_DYNAMIC_DNS:
		s.Resolution = mesh.ResolutionDynamicDNS
	default:
		s.Resolution = mesh.ResolutionNone
	}
	for _, p := range spec.GetPorts() {
		s.Ports = append(s.Ports, &mesh.Port{
			Number: p.GetNumber(), Name: p.GetName(), Protocol: specProtocol(p.GetProtocol()),
			TargetPort: cmp.Or(p.GetTargetPort(), p.GetNumber()),
		})
	}
	sortPorts(s.Ports)
	return s
}

// canonical writes each address in the one form that Envoy compares: 2001:DB8:0::1 is 2001:db8::1. Ranges stay as they are.
func canonical(addresses []string) []string {
	var out []string
	for _, s := range addresses {
		if a, err := netip.ParseAddr(s); err == nil {
			s = a.Unmap().String()
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// joinEntry adds what only the younger entry has: ports, addresses, a selector.
func (c *compiler) joinEntry(first, s *mesh.Service, o *istio.Object[*networking.ServiceEntry], i int) {
	first.Addresses = canonical(append(slices.Clone(first.Addresses), s.Addresses...))
	if first.Selector == nil {
		first.Selector = s.Selector
	}
	for _, p := range s.Ports {
		have := first.PortByNumber(p.Number)
		switch {
		case have == nil:
			first.Ports = append(first.Ports, p)
		case have.Protocol != p.Protocol:
			c.report(&o.Meta, fmt.Sprintf("spec.hosts[%d]", i), istio.Warning, codeEntryProtocol,
				fmt.Sprintf("port %d of %s is %s here and %s in %s; the older entry counts",
					p.Number, s.Hostname, p.Protocol, have.Protocol, originAt(first.Origin)), "")
		}
	}
	sortPorts(first.Ports)
}

// entryEndpoints lists where each port leads. ResolutionNone has none: the caller's address is it.
func (c *compiler) entryEndpoints(s *mesh.Service, o *istio.Object[*networking.ServiceEntry]) {
	spec := o.Spec
	dns := s.Resolution == mesh.ResolutionDNS || s.Resolution == mesh.ResolutionDNSRoundRobin
	if s.Resolution == mesh.ResolutionNone || s.Resolution == mesh.ResolutionDynamicDNS {
		return
	}
	entries := spec.GetEndpoints()
	if dns && len(entries) == 0 && s.Selector == nil {
		entries = []*networking.WorkloadEntry{{Address: s.Hostname}}
	}
	for _, e := range entries {
		if dns {
			s.DNSEndpoints = append(s.DNSEndpoints, c.entryEndpoint(s, e, 0))
		}
		for _, p := range spec.GetPorts() { // an entry's endpoints are behind its own ports, not those of another of the same host
			c.addEndpoints(s, p.GetNumber(), c.entryEndpoint(s, e, cmp.Or(e.GetPorts()[p.GetName()], p.GetTargetPort(), p.GetNumber())))
		}
	}
	slices.SortFunc(s.DNSEndpoints, compareEndpoints)
}

func (c *compiler) entryEndpoint(s *mesh.Service, e *networking.WorkloadEntry, port uint32) *mesh.Endpoint {
	return &mesh.Endpoint{
		Address: e.GetAddress(), Port: port, Labels: e.GetLabels(), Weight: e.GetWeight(), Ready: true, Locality: e.GetLocality(),
		TLS: c.entryTLS(s, e, port), ServiceAccount: e.GetServiceAccount(),
	}
}
