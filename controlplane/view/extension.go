package view

import (
	"net"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// extend gives the listeners the WasmPlugins and TrafficExtensions that stand in them.
func (c *Cache) extend(v *mesh.View, n mesh.Node) {
	if len(c.world.Extensions) == 0 {
		return
	}
	for _, l := range v.Listeners {
		switch l.Kind {
		case mesh.ListenInbound, mesh.ListenVirtualInbound:
			for _, in := range l.Inbound {
				in.Extensions = c.extensions(n, in.Port, in.Port, false)
			}
			if l.Kind == mesh.ListenVirtualInbound {
				l.Extensions = c.extensions(n, 0, 0, false)
			}
		case mesh.ListenHTTPProxy:
			l.Extensions = c.proxied(n)
		case mesh.ListenVirtualOutbound:
			l.Extensions = c.extensions(n, 0, 0, true)
		case mesh.ListenGateway:
			l.Extensions = c.extensions(n, 0, serverPort(n, l.Port), true)
		default:
			l.Extensions = c.extensions(n, 0, l.Port, true)
		}
	}
	c.moduleCluster(v)
}

// serverPort is the port that a gateway's server names, for the one that is bound.
func serverPort(n mesh.Node, bound uint32) uint32 {
	for server, b := range n.Ports {
		if b == bound {
			return server
		}
	}
	return bound
}

// extensions are those for traffic to a port, 0 for traffic to ports that nothing names; own is the workload's port, which
// policies with targets bear on, 0 outbound.
func (c *Cache) extensions(n mesh.Node, own, port uint32, client bool) []*mesh.Extension {
	var out []*mesh.Extension
	for _, e := range c.world.Extensions {
		ports, every := e.Ports(client)
		if (every || port != 0 && slices.Contains(ports, port)) && c.bears(&e.Bearing, n, own) {
			out = append(out, e)
		}
	}
	return out
}

// proxied are those of a listener that takes requests to every port: each knows its own.
func (c *Cache) proxied(n mesh.Node) []*mesh.Extension {
	var out []*mesh.Extension
	for _, e := range c.world.Extensions {
		if ports, every := e.Ports(true); (every || len(ports) > 0) && c.bears(&e.Bearing, n, 0) {
			out = append(out, e)
		}
	}
	return out
}

// moduleCluster adds the cluster of the control plane's modules to a view that has to fetch one.
func (c *Cache) moduleCluster(v *mesh.View) {
	host, text, err := net.SplitHostPort(v.Settings.ModuleServer)
	fetches := func(e *mesh.Extension) bool { return e.Wasm != nil && e.Wasm.Digest != "" && v.Node.Fetches(e.Wasm) }
	if err != nil || !slices.ContainsFunc(v.Listeners, func(l *mesh.Listener) bool {
		return slices.ContainsFunc(l.Extensions, fetches) ||
			slices.ContainsFunc(l.Inbound, func(in *mesh.Inbound) bool { return slices.ContainsFunc(in.Extensions, fetches) })
	}) {
		return
	}
	port := tablePort(text)
	cl := &mesh.Cluster{
		Name: mesh.ModuleCluster, Kind: mesh.ClusterStrictDNS, Protocol: mesh.HTTP, Hostname: host, Port: port,
		Hosts: []*mesh.Endpoint{{Address: host, Port: port, Ready: true}},
	}
	if net.ParseIP(host) != nil {
		cl.Kind = mesh.ClusterStatic
	}
	v.Clusters = append(v.Clusters, cl)
}
