package compile

import (
	"fmt"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// analyzePort checks a destination that names no port. In the mesh it takes the request's port, at a gateway a
// service's only one, else the gateway's: told is the first port by which requests come that the service does not have.
func (c *compiler) analyzePort(r *rule, route *mesh.Route, svc *mesh.Service, path, so string) {
	for _, port := range c.requestPorts(r, route, len(svc.Ports) == 1) {
		if svc.PortByNumber(port) != nil {
			continue
		}
		fix := "write port: {number: ...}"
		if len(svc.Ports) == 1 {
			fix = fmt.Sprintf("write port: {number: %d}", svc.Ports[0].Number)
		}
		c.report(&r.source(route).Meta, path, istio.Error, codePortRequired,
			fmt.Sprintf("the destination names no port, so it takes the request's, %d; %s has only %s: by port %d %s",
				port, svc.Hostname, portList(svc), port, so), fix)
		return
	}
}

// requestPorts lists the ports by which requests may come to a route, sorted; gateways' only if they count.
func (c *compiler) requestPorts(r *rule, route *mesh.Route, meshOnly bool) []uint32 {
	var out []uint32
	for _, g := range routeGateways(r, route) {
		switch gw := c.gateway(g); {
		case g == mesh.MeshGateway:
			for _, h := range r.Hosts {
				out = append(out, c.hostPorts(h, r.Namespace)...)
			}
		case gw != nil && !meshOnly:
			for _, s := range gw.Servers {
				out = append(out, s.Port)
			}
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(route.Matches) == 0 || slices.ContainsFunc(route.Matches, func(m *mesh.Match) bool { return m.Port == 0 }) {
		return out
	}
	return slices.DeleteFunc(out, func(p uint32) bool {
		return !slices.ContainsFunc(route.Matches, func(m *mesh.Match) bool { return m.Port == p })
	})
}

// routeGateways are the gateways that a route is for: its matches' if each names some, else the rule's.
func routeGateways(r *rule, route *mesh.Route) []string {
	var out []string
	for _, m := range route.Matches {
		if len(m.Gateways) == 0 {
			return r.Gateways
		}
		out = append(out, m.Gateways...)
	}
	if out == nil {
		return r.Gateways
	}
	return out
}

// hostPorts lists the HTTP ports of a host in the mesh: 80 if no service has it; none for a wildcard, which may cover
// anything.
func (c *compiler) hostPorts(host, namespace string) []uint32 {
	if mesh.IsWildcard(host) {
		return nil
	}
	svc := c.lookup(host, namespace)
	if svc == nil {
		return []uint32{80}
	}
	var out []uint32
	for _, p := range svc.Ports {
		if p.Protocol.IsHTTP() {
			out = append(out, p.Number)
		}
	}
	return out
}
