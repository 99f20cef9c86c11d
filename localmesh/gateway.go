package localmesh

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/mizzen-mesh/mizzen/localmesh/loopback"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
	"github.com/mizzen-mesh/mizzen/localmesh/podnet"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// gateway is a gateway Envoy that runs. The first one listens on 127.0.0.1, where a browser looks; each other has an
// address of its own, so that all may have port 8080.
type gateway struct {
	plan    *plan.Gateway
	print   string
	address string
	admin   uint32
	// ports maps a server's port to the one bound. It holds 80 and 443 even if no server has them, and else only what
	// differs: a server added later then needs no other Envoy.
	ports map[uint32]uint32
	key   string // in the block of addresses; "" for 127.0.0.1
	proxy *proxy
	// pod is its network namespace, of which address is made to reach it; nil: it has none. exposed are the ports that do.
	pod     *podnet.Pod
	exposed []uint32
}

func gatewayFingerprint(g *plan.Gateway) string {
	return fmt.Sprint(g.Name, g.Namespace, g.Labels, g.Annotations, g.Proxy) // fmt prints maps sorted
}

// newGateway chooses an address and ports.
func (m *mesh) newGateway(p *plan.Gateway) (*gateway, error) {
	g := &gateway{plan: p, print: gatewayFingerprint(p), address: localhost, ports: map[uint32]uint32{}}
	if m.firstGateway != "" && m.firstGateway != p.Key() {
		pair, err := m.block.Take("gateway "+p.Key(), []uint32{portAdmin})
		if err != nil {
			return nil, fmt.Errorf("place gateway %s: %w", p.Name, err)
		}
		g.key, g.address = "gateway "+p.Key(), pair.Sidecar
	} else {
		m.firstGateway = p.Key()
	}
	var err error
	if g.admin, err = loopback.Choose(g.address, portAdmin); err != nil {
		return nil, fmt.Errorf("place gateway %s: %w", p.Name, err)
	}
	for server, wanted := range map[uint32]uint32{80: m.o.GatewayPort, 443: m.o.GatewayTLSPort} {
		if m.o.PortsFixed && slices.Contains(p.Ports, server) {
			if err := loopback.Free(g.address, wanted); err != nil {
				return nil, fmt.Errorf("bind gateway port: %w; name another with --gateway-port or --gateway-tls-port", err)
			}
		}
		// The next numbers are easier to remember than any free one.
		if g.ports[server], err = loopback.Choose(g.address, wanted, wanted+1, wanted+2, wanted+3, wanted+4); err != nil {
			return nil, fmt.Errorf("bind gateway port: %w", err)
		}
	}
	if _, err = g.extend(p.Ports); err != nil || m.pods == nil {
		return g, err
	}
	if err := m.newGatewayPod(g); err != nil {
		return g, fmt.Errorf("place gateway %s: %w", p.Name, err)
	}
	return g, g.expose()
}

// extend finds a bound port for server ports that came with a new Gateway, and tells whether one is not the same number.
func (g *gateway) extend(servers []uint32) (changed bool, err error) {
	for _, server := range servers {
		if _, ok := g.ports[server]; ok {
			continue
		}
		// 8000 more is what people guess for a port under 1024 that they may not bind.
		bound, err := loopback.Choose(g.address, server, 8000+server)
		if err != nil {
			return changed, fmt.Errorf("bind port %d of gateway %s: %w", server, g.plan.Name, err)
		}
		if bound != server {
			g.ports[server] = bound
			changed = true
		}
	}
	return changed, nil
}

// bound is the port that a server's port is reached at.
func (g *gateway) bound(server uint32) uint32 { return cmp.Or(g.ports[server], server) }

// allBound maps every server port.
func (g *gateway) allBound() map[uint32]uint32 {
	out := maps.Clone(g.ports)
	for _, server := range g.plan.Ports {
		out[server] = g.bound(server)
	}
	return out
}

// state is the gateway's entry in the ready file.
func (g *gateway) state() state.Gateway {
	s := state.Gateway{
		Name: g.plan.Name, Pod: g.plan.PodName(), Namespace: g.plan.Namespace, Labels: g.plan.Labels, Address: g.address, Ports: map[uint32]uint32{},
		Admin: net.JoinHostPort(g.address, strconv.Itoa(int(g.admin))),
	}
	for _, server := range g.plan.Ports {
		s.Ports[server] = g.bound(server)
		url := net.JoinHostPort(g.address, strconv.Itoa(int(g.bound(server))))
		switch {
		case server == 443 || g.plan.TLS[server] && s.HTTPS == "":
			s.HTTPS = "https://" + url
		case server == 80 || !g.plan.TLS[server] && s.HTTP == "":
			s.HTTP = "http://" + url
		}
	}
	return s
}

func (g *gateway) stop() {
	if g.proxy != nil {
		g.proxy.stop()
	}
}
