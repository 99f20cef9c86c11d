package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// egress lists the listeners that the Sidecar describes by address.
func (s *scope) egress() []*mesh.EgressListener {
	if s.sidecar == nil || s.node.Gateway {
		return nil
	}
	return s.sidecar.Listeners
}

// described tells whether the Sidecar says where a port is listened on: then it is there only.
func (s *scope) described(port uint32) bool {
	return slices.ContainsFunc(s.egress(), func(e *mesh.EgressListener) bool { return e.Port == port && port != 0 })
}

// egressTable names the table of a listener of the Sidecar's: that of its port; a Unix socket has one of its own.
func egressTable(e *mesh.EgressListener) string {
	if e.Port != 0 {
		return portString(e.Port)
	}
	return "unix." + strings.ReplaceAll(strings.TrimPrefix(e.Bind, "unix://"), "/", "_") // "/" ends a table's name in a virtual host's
}

// leads tells whether a Unix socket leads to a service.
func leads(e *mesh.EgressListener, svc *mesh.Service) bool {
	return slices.ContainsFunc(e.Hosts, func(h mesh.EgressHost) bool {
		return (h.Namespace == "*" || h.Namespace == svc.Namespace) && mesh.HostCovers(h.Host, svc.Hostname)
	})
}

// socketTables adds the tables that no port asks for: those of Unix sockets.
func (s *scope) socketTables() {
	for _, e := range s.egress() {
		if e.Protocol.IsHTTP() && e.Port == 0 {
			s.tables = append(s.tables, &mesh.RouteTable{
				Name: egressTable(e), VirtualHosts: distinct(s.socketHosts(e)), CatchAll: s.catchAll(false), Own: true,
			})
		}
	}
}

// socketHosts are the virtual hosts behind a Unix socket. A name without a port is the one on port 80, as an HTTP client means it.
func (s *scope) socketHosts(e *mesh.EgressListener) []*mesh.VirtualHost {
	var out []*mesh.VirtualHost
	for _, svc := range s.services {
		for _, p := range svc.Ports {
			if p.Protocol.IsHTTP() && leads(e, svc) {
				vh := s.serviceHost(svc, p.Number)
				if len(svc.Ports) > 1 {
					vh = withDomains(vh, p.Number)
				}
				out = append(out, vh)
			}
		}
	}
	return out
}

// egressListeners adds the listeners that the Sidecar describes.
func (s *scope) egressListeners(v *mesh.View, n mesh.Node, taken map[string]bool) {
	for _, e := range s.egress() {
		l := &mesh.Listener{Kind: mesh.ListenOutboundHTTP, Address: egressAddress(e, n), Port: e.Port, Own: e.Own, Origins: []mesh.Origin{e.Origin}}
		l.Name = l.Address
		if e.Port != 0 {
			l.Name += "_" + portString(e.Port)
			all, _ := n.Families.Any()
			taken[all+"_"+portString(e.Port)] = true
		}
		if taken[l.Name] || !n.Intercepts && l.Address == n.IP && spokenFor(n, s.cache.ports(n), e.Port) {
			continue // in the local mesh the workload itself answers there
		}
		taken[l.Name] = true
		if e.Protocol.IsHTTP() {
			l.Table, l.Tracing = egressTable(e), tracer(v)
			if !slices.ContainsFunc(s.tables, func(t *mesh.RouteTable) bool { return t.Name == l.Table }) {
				continue // it leads to no service
			}
		} else if !s.egressBytes(l, e, n) {
			continue
		}
		v.Listeners = append(v.Listeners, l)
	}
}

// egressBytes leads a listener to the first service that has its port; false if none does.
func (s *scope) egressBytes(l *mesh.Listener, e *mesh.EgressListener, n mesh.Node) bool {
	for _, t := range s.tcp {
		if t.port.Number == e.Port || e.Port == 0 && leads(e, t.service) {
			l.Kind, l.Cluster = mesh.ListenOutboundTCP, mesh.OutboundCluster(t.port.Number, "", t.service.Hostname)
			s.routeBytes(l, t, n)
			return true
		}
	}
	return false
}

// egressAddress is where a listener is bound. In the local mesh every workload's loopback is its own address.
func egressAddress(e *mesh.EgressListener, n mesh.Node) string {
	bind := cmp.Or(e.Bind, n.Families.Loopback())
	a, err := netip.ParseAddr(bind)
	if err == nil && !n.Intercepts && (a.IsUnspecified() || a == netip.AddrFrom4([4]byte{127, 0, 0, 1})) {
		return n.IP
	}
	return bind
}
