package view

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// socket is what a gateway's listener is bound to.
type socket struct {
	port    uint32
	address string
}

func compareSockets(a, b socket) int {
	return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.address, b.address))
}

// serverPorts tells where a server's port is bound: where the proxy says, else where the first Service with that port leads, else
// on itself, as in Istio.
func (c *Cache) serverPorts(n mesh.Node) func(uint32) uint32 {
	to := n.Ports
	if to == nil {
		to = c.servicePorts(n)
	}
	return func(port uint32) uint32 { return cmp.Or(to[port], port) }
}

// servicePorts are where Services that select the proxy lead, from their port to its own.
func (c *Cache) servicePorts(n mesh.Node) map[uint32]uint32 {
	var services []*mesh.Service
	for _, s := range c.serving[n.Namespace] {
		if serves(s, n) {
			services = append(services, s)
		}
	}
	if len(services) == 0 {
		return c.listedPorts(n)
	}
	w := c.workload(n)
	return mesh.Leads(services, func(p *mesh.Port) uint32 { return p.On(w) })
}

// listedPorts are servicePorts of Services without a selector, whose endpoints somebody lists.
func (c *Cache) listedPorts(n mesh.Node) map[uint32]uint32 {
	to := map[uint32]uint32{}
	for _, s := range c.world.Services {
		if s.Namespace != n.Namespace || s.ShortName == "" || s.Selector != nil || s.Literal {
			continue
		}
		for _, p := range s.Ports {
			for _, e := range c.world.Endpoints[mesh.EndpointKey{Hostname: s.Hostname, Namespace: s.Namespace, Port: p.Number}] {
				if e.Address == n.IP && to[p.Number] == 0 {
					to[p.Number] = e.Port
				}
			}
		}
	}
	return to
}

// plainTable is Istio's name for the table of plain HTTP servers: it has the port that is bound, but where the proxy alone knows that.
func plainTable(n mesh.Node, at socket, first bind) string {
	port := at.port
	if n.Ports != nil {
		port = first.server.Port
	}
	return "http." + portString(port) + first.suffix()
}

// secureTable is Istio's name: each HTTPS server has a table of its own.
func secureTable(b bind) string {
	return strings.Join([]string{"https", portString(b.server.Port), b.server.PortName, b.gateway.Name, b.gateway.Namespace}, ".") + b.suffix()
}

// suffix is how tables of a server with an address of its own are named.
func (b bind) suffix() string {
	if b.server.Bind == "" {
		return ""
	}
	return "." + b.server.Bind
}

// servers are the ports of a table's servers, sorted; nil if there is only the one of its name.
func servers(table string, binds []bind) []uint32 {
	var out []uint32
	for _, b := range binds {
		out = append(out, b.server.Port)
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) == 1 && strings.Split(table, ".")[1] == portString(out[0]) {
		return nil
	}
	return out
}
