package view

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// ingressPorts are the workload's ports as its Sidecar describes them. A service that leads to one still gives it its name.
func (c *Cache) ingressPorts(s *mesh.Sidecar, n mesh.Node) []*mesh.Inbound {
	var out []*mesh.Inbound
	for _, i := range s.Ingress {
		in := &mesh.Inbound{Port: i.Port, Protocol: i.Protocol, Cluster: mesh.InboundCluster(i.Port), Hostname: c.leading(n, i.Port)}
		if i.Protocol.IsHTTP() {
			in.Table = in.Cluster
		}
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b *mesh.Inbound) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

// leading is the first service, by host name, that leads to a port of the workload; "" if none does.
func (c *Cache) leading(n mesh.Node, port uint32) string {
	first := ""
	for _, svc := range c.serving[n.Namespace] {
		if (first == "" || svc.Hostname < first) && c.leadsTo(svc.Hostname, n, port) {
			first = svc.Hostname
		}
	}
	return first
}

// ingressOf finds what a Sidecar says of a port; nil if it says nothing, or there is none.
func ingressOf(s *mesh.Sidecar, port uint32) *mesh.Ingress {
	if s == nil {
		return nil
	}
	for _, i := range s.Ingress {
		if i.Port == port {
			return i
		}
	}
	return nil
}

// inboundPool is what a Sidecar says of connections to a port, which wins over any DestinationRule; nil: nothing.
func inboundPool(s *mesh.Sidecar, port uint32) *mesh.ConnectionPool {
	if i := ingressOf(s, port); i != nil && i.Pool != nil {
		return i.Pool
	}
	if s == nil {
		return nil
	}
	return s.InboundPool
}

// setTarget leads an inbound cluster to where the application listens.
func setTarget(cl *mesh.Cluster, i *mesh.Ingress, n mesh.Node) {
	cl.Origins = append(cl.Origins, i.Origin)
	if strings.HasPrefix(i.Target, "unix://") {
		cl.Kind, cl.Hosts = mesh.ClusterStatic, []*mesh.Endpoint{{Address: i.Target, Ready: true}}
		return
	}
	host, text, err := net.SplitHostPort(i.Target)
	if err != nil {
		return // on the same port, as without a Sidecar
	}
	port, _ := strconv.ParseUint(text, 10, 16)
	if host == "0.0.0.0" || host == "::" {
		host = n.IP
	}
	cl.Kind, cl.Hosts = mesh.ClusterStatic, []*mesh.Endpoint{{Address: cmp.Or(n.AppAddress, host), Port: uint32(port), Ready: true}}
}

// ownListener tells whether a port is bound by itself, and at which address.
func ownListener(s *mesh.Sidecar, n mesh.Node, port uint32) (address string, own bool) {
	i := ingressOf(s, port)
	if i == nil {
		return bindAddress(n), !n.Intercepts
	}
	return cmp.Or(i.Bind, bindAddress(n)), !n.Intercepts || i.Own
}

// egressProxy is the cluster that gets what no service takes, in place of where the caller meant it to go; "" if there is none.
func (s *scope) egressProxy() string {
	if s.sidecar == nil || s.sidecar.EgressProxy == nil || !s.outboundAny() {
		return ""
	}
	d := s.sidecar.EgressProxy
	name := mesh.OutboundCluster(d.Port, d.Subset, d.Hostname)
	if s.named[name] == nil {
		return ""
	}
	return name
}
