package view

import (
	"net/netip"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// sharesTable tells whether an HTTP port's virtual host stands in the table of its number, which intercepted requests to any
// address meet. Where the protocol is detected on an address of the service's own, all that comes there is the service's, whatever
// host it names. A port that the Sidecar describes has its table wherever it is listened on.
func (s *scope) sharesTable(svc *mesh.Service, p *mesh.Port) bool {
	if s.described(p.Number) {
		return p.Protocol.IsHTTP()
	}
	return s.node.Intercepts && p.Protocol.IsHTTP() && (p.Protocol != mesh.Detected || len(single(svc.Addresses)) == 0)
}

// binds tells whether a port that is not HTTP, or perhaps not, is bound on the proxy's address where nothing is intercepted. What is
// probably a web server's has the explicit proxy; most may not bind its port.
func binds(p *mesh.Port) bool {
	return p.Protocol == mesh.TCP || p.Protocol == mesh.Detected && p.Number >= 1024
}

// autoAddresses are those that a service was given, of the kinds that the proxy's pod has.
func autoAddresses(svc *mesh.Service, n mesh.Node) []string {
	var out []string
	for _, a := range svc.Auto {
		if ip, err := netip.ParseAddr(a); err == nil && n.Families.Has(ip) {
			out = append(out, a)
		}
	}
	return out
}

// ownTable is of a port whose protocol is detected on an address that leads nowhere else. It is named as in Istio.
func (s *scope) ownTable(vh *mesh.VirtualHost) {
	all := *vh
	all.Domains = []string{"*"}
	s.tables = append(s.tables, &mesh.RouteTable{Name: vh.Name, CatchAll: &all, Own: true})
}

// proxiedHost is a port's virtual host as an explicit proxy has it: where the protocol is detected, clients may ask for a tunnel too.
func (s *scope) proxiedHost(vh *mesh.VirtualHost, t tcpPort) *mesh.VirtualHost {
	if !t.port.Protocol.IsBytes() {
		return vh
	}
	out := *vh
	out.Routes = append([]*mesh.BoundRoute{s.connectRoute(t)}, vh.Routes...)
	return &out
}

// detectOnAny has a listener on any address, which an HTTP table made, tell what is not HTTP and send it to the first service that
// wants it.
func (s *scope) detectOnAny(v *mesh.View, t tcpPort, n mesh.Node) {
	all, _ := n.Families.Any()
	name := all + "_" + portString(t.port.Number)
	i := slices.IndexFunc(v.Listeners, func(l *mesh.Listener) bool { return l.Name == name })
	if i < 0 || v.Listeners[i].Detect {
		return
	}
	l := v.Listeners[i]
	l.Detect, l.Cluster = true, mesh.OutboundCluster(t.port.Number, "", t.service.Hostname)
	l.Origins = append(l.Origins, t.service.Origin)
	s.routeBytes(l, t, n)
}
