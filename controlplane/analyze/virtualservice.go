package analyze

import (
	"fmt"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// virtualServices checks where rules are in force.
func (a *analyzer) virtualServices() {
	for _, r := range a.world.Rules {
		if slices.Contains(r.Gateways, mesh.MeshGateway) {
			a.unknownHosts(r)
		} else {
			a.gatewayRules(r)
		}
	}
}

// unknownHosts: such a host has no ports but the usual one.
func (a *analyzer) unknownHosts(r *mesh.HostRules) {
	if len(r.Routes) == 0 {
		return
	}
	for _, host := range r.Hosts {
		if mesh.IsWildcard(host) || slices.ContainsFunc(a.world.Services, func(s *mesh.Service) bool { return mesh.HostCovers(s.Hostname, host) }) {
			continue
		}
		a.reportAt(r.Origin, istio.Info, codePort80,
			fmt.Sprintf("no service is called %s: inside the mesh the rules are in force for requests to port 80 only", host),
			"add a ServiceEntry for the host, with its ports")
	}
}

// gatewayRules: a gateway goes by the rules that name it, and by no others.
func (a *analyzer) gatewayRules(r *mesh.HostRules) {
	for _, route := range r.Routes {
		for _, d := range route.Destinations {
			other := a.meshRules(d.Hostname, r)
			if d.Subset != "" || other == nil {
				continue
			}
			a.reportAt(d.Origin, istio.Warning, codeGatewayRules,
				fmt.Sprintf("%s divides requests to %s inside the mesh: those that come through the gateway do not follow it", originAt(other.Origin), d.Hostname),
				"name subsets here, or add the gateway and its hosts there")
		}
	}
}

// meshRules finds rules for a host in the mesh that choose among subsets and are not for one of r's gateways.
func (a *analyzer) meshRules(host string, r *mesh.HostRules) *mesh.HostRules {
	for _, o := range a.world.Rules {
		shared := slices.ContainsFunc(o.Gateways, func(g string) bool { return slices.Contains(r.Gateways, g) })
		if shared || !slices.Contains(o.Gateways, mesh.MeshGateway) || !slices.Contains(o.Hosts, host) {
			continue
		}
		if slices.ContainsFunc(o.Routes, func(x *mesh.Route) bool {
			return slices.ContainsFunc(x.Destinations, func(d *mesh.Destination) bool { return d.Subset != "" })
		}) {
			return o
		}
	}
	return nil
}
