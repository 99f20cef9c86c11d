package compile

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// portUse is what the first server on a port of some gateway made of it.
type portUse struct {
	kind  mesh.ServerKind
	from  mesh.Origin
	names map[string]mesh.Origin // server names, of TLS
}

// analyzePorts tells of servers that cannot share a port with an older one on the same pods: what they say there is left out. Package
// analyze has those that meet there by way of a Service, or by another selector.
func (c *compiler) analyzePorts() {
	ports := map[string]*portUse{}
	for i, g := range c.world.Gateways {
		for j, s := range g.Servers {
			key := fmt.Sprintf("%d %s", s.Port, s.Bind)
			for _, l := range slices.Sorted(maps.Keys(g.Selector)) {
				key += " " + l + "=" + g.Selector[l]
			}
			p := ports[key]
			if p == nil {
				p = &portUse{kind: s.Kind(), from: s.Origin, names: map[string]mesh.Origin{}}
				ports[key] = p
			}
			m, path := &c.set.Gateways[i].Meta, index("spec.servers", j)
			if kind := s.Kind(); kind != p.kind {
				c.report(m, path+".port", istio.Error, codeGatewayConflict,
					fmt.Sprintf("port %d is %s here and %s at %s, on the same pods: this server is left out", s.Port, kind, p.kind, originAt(p.from)),
					"give one of them another port")
				continue
			}
			if p.kind == mesh.ServesTLS && s.TLS != nil {
				c.analyzeServerNames(m, path, s, p)
			}
		}
	}
}

func (c *compiler) analyzeServerNames(m *istio.Meta, path string, s *mesh.Server, p *portUse) {
	for k, h := range s.Hosts {
		if first, taken := p.names[h.Host]; taken {
			c.report(m, index(path+".hosts", k), istio.Error, codeGatewayConflict,
				fmt.Sprintf("port %d has a server for %s already, at %s, on the same pods: that one's certificate holds", s.Port, h.Host, originAt(first)),
				"name each host on one server")
			continue
		}
		p.names[h.Host] = s.Origin
	}
}
