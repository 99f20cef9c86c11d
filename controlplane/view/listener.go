package view

import (
	"cmp"
	"maps"
	"net"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

// Ports of Istio's own listeners, captured by its iptables rules.
const (
	outboundPort = 15001
	inboundPort  = 15006
)

// outboundPort and inboundPort are where intercepted connections come in.
func (c *Cache) outboundPort() uint32 { return cmp.Or(c.world.Settings.OutboundPort, outboundPort) }
func (c *Cache) inboundPort() uint32  { return cmp.Or(c.world.Settings.InboundPort, inboundPort) }

// listening is n with the port at which it is to be a proxy, if it does not say one itself.
func (c *Cache) listening(n mesh.Node) mesh.Node {
	if !n.Gateway && n.HTTPProxyPort == 0 {
		n.HTTPProxyPort = c.world.Settings.HTTPProxyPort
	}
	return n
}

// sidecarOutbound adds the listeners before the scope's tables and clusters.
func (s *scope) sidecarOutbound(v *mesh.View, n mesh.Node) {
	tr := tracer(v)
	if n.HTTPProxyPort != 0 {
		v.Listeners = append(v.Listeners, &mesh.Listener{
			Name: n.IP + "_" + portString(n.HTTPProxyPort), Kind: mesh.ListenHTTPProxy,
			Address: n.IP, Port: n.HTTPProxyPort, Table: ProxyTable, Tracing: tr,
		})
	}
	taken := map[string]bool{}
	s.egressListeners(v, n, taken)
	if n.Intercepts {
		// What a service on one of these ports gets goes on as it came: the listener there is the proxy's own.
		all, more := n.Families.Any()
		taken[all+"_"+portString(s.cache.outboundPort())], taken[all+"_"+portString(s.cache.inboundPort())] = true, true
		for _, t := range s.tables {
			if t.Proxy || t.Own || taken[all+"_"+t.Name] {
				continue
			}
			l := &mesh.Listener{
				Name: all + "_" + t.Name, Kind: mesh.ListenOutboundHTTP, Address: all, Additional: more, Table: t.Name, Tracing: tr,
				Port: tablePort(t.Name),
			}
			taken[l.Name] = true
			v.Listeners = append(v.Listeners, l)
		}
		v.Listeners = append(v.Listeners, s.virtualOutbound(n))
	}
	s.tcpListeners(v, n, taken)
}

func (s *scope) virtualOutbound(n mesh.Node) *mesh.Listener {
	all, more := n.Families.Any()
	return &mesh.Listener{
		Name: "virtualOutbound", Kind: mesh.ListenVirtualOutbound, Address: all, Additional: more, Port: s.cache.outboundPort(), Cluster: s.rest(),
	}
}

// rest is the cluster of what no listener takes.
func (s *scope) rest() string {
	if s.outboundAny() {
		return cmp.Or(s.egressProxy(), mesh.PassthroughCluster)
	}
	return mesh.BlackHoleCluster
}

// tcpListeners gives each port that is not HTTP, or perhaps not, a listener of its own: on its virtual addresses, or on the one that it
// is given and on any address if it has none
// and no other took the port. TLS without an address shares one with what else is on that port, by server names. Without
// interception plain TCP is bound on the proxy's own address.
func (s *scope) tcpListeners(v *mesh.View, n mesh.Node, taken map[string]bool) {
	var own []*mesh.Inbound
	if !n.Intercepts && len(s.tcp) > 0 {
		own = s.cache.ports(n)
	}
	byName := map[uint32]*chainSet{}
	for _, t := range s.tcp {
		if s.described(t.port.Number) {
			continue
		}
		if n.Intercepts {
			for _, a := range autoAddresses(t.service, n) {
				s.addTCP(v, t, a, n, taken)
			}
			addresses := single(t.service.Addresses)
			switch {
			case len(addresses) > 0:
			case t.port.Protocol == mesh.TCP:
				all, _ := n.Families.Any()
				addresses = []string{all}
			case t.port.Protocol == mesh.Detected:
				s.detectOnAny(v, t, n)
				continue
			}
			for _, a := range addresses {
				s.addTCP(v, t, a, n, taken)
			}
			if len(addresses) == 0 {
				if byName[t.port.Number] == nil {
					byName[t.port.Number] = &chainSet{}
				}
				s.serverNameChains(byName[t.port.Number], t, n)
			}
		} else if binds(t.port) && !spokenFor(n, own, t.port.Number) {
			s.addTCP(v, t, n.IP, n, taken)
		}
	}
	for _, port := range slices.Sorted(maps.Keys(byName)) {
		s.addServerNames(v, port, byName[port].chains, n)
	}
}

func (s *scope) addTCP(v *mesh.View, t tcpPort, address string, n mesh.Node, taken map[string]bool) {
	l := &mesh.Listener{
		Name: address + "_" + portString(t.port.Number), Kind: mesh.ListenOutboundTCP, Address: address, Port: t.port.Number,
		Cluster: mesh.OutboundCluster(t.port.Number, "", t.service.Hostname), Origins: []mesh.Origin{t.service.Origin},
	}
	if all, more := n.Families.Any(); address == all {
		l.Additional = more
	}
	if t.port.Protocol == mesh.Detected {
		l.Kind, l.Detect, l.Table, l.Tracing = mesh.ListenOutboundHTTP, true, t.service.Hostname+":"+portString(t.port.Number), tracer(v)
	}
	if !taken[l.Name] {
		taken[l.Name] = true
		s.routeBytes(l, t, n)
		v.Listeners = append(v.Listeners, l)
	}
}

// addServerNames puts chains by server name before what stands on a port of any address, HTTP or the bytes of one service;
// without one, what no chain takes goes on as it came.
func (s *scope) addServerNames(v *mesh.View, port uint32, chains []*mesh.Chain, n mesh.Node) {
	all, more := n.Families.Any()
	name := all + "_" + portString(port)
	if port == s.cache.outboundPort() || port == s.cache.inboundPort() || len(chains) == 0 {
		return
	}
	for _, l := range v.Listeners {
		if l.Name == name {
			l.Chains = append(l.Chains, chains...)
			return
		}
	}
	l := &mesh.Listener{Name: name, Kind: mesh.ListenOutboundTCP, Address: all, Additional: more, Port: port, Chains: chains, Cluster: s.rest()}
	for _, ch := range chains {
		l.Origins = append(l.Origins, ch.Origins...)
	}
	v.Listeners = append(v.Listeners, l)
}

// spokenFor tells whether a port on the proxy's address is spoken for: by the workload, or by the proxy itself.
func spokenFor(n mesh.Node, ports []*mesh.Inbound, port uint32) bool {
	return port == n.HTTPProxyPort || port >= 15000 && port < 15100 ||
		slices.ContainsFunc(ports, func(in *mesh.Inbound) bool { return in.Port == port })
}

// single leaves out address ranges.
func single(addresses []string) []string {
	var out []string
	for _, a := range addresses {
		if net.ParseIP(a) != nil {
			out = append(out, a)
		}
	}
	return out
}

// tracer is the listeners' tracing; nil if the proxy cannot run it.
func tracer(v *mesh.View) *tracing.Config {
	if !v.Node.Host().Mizzen() {
		return nil
	}
	c := &tracing.Config{KeepRequestID: v.Settings.Proxy != nil && v.Settings.Proxy.NoRequestID}
	if p := v.Settings.TraceSampling; p != nil {
		share := filter.PercentOf(*p)
		c.Sampling.Percentage = &share
	}
	return c
}

// inbound adds what stands before the workload itself.
func (c *Cache) inbound(v *mesh.View, n mesh.Node) {
	ports := c.ports(n)
	modes := c.peerModes(n)
	for _, in := range ports {
		in.Peer = modes.On(in.Port)
	}
	tr := tracer(v)
	sidecar := c.sidecarOf(n)
	var captured []*mesh.Inbound
	for _, in := range ports {
		v.Clusters = append(v.Clusters, c.inboundCluster(n, in))
		if in.Table != "" {
			v.Tables = append(v.Tables, c.inboundTable(n, in))
		}
		address, own := ownListener(sidecar, n, in.Port)
		if !own {
			captured = append(captured, in)
			continue
		}
		v.Listeners = append(v.Listeners, &mesh.Listener{
			Name: address + "_" + portString(in.Port), Kind: mesh.ListenInbound, Address: address, Port: in.Port,
			Table: in.Table, Inbound: []*mesh.Inbound{in}, Tracing: tr,
		})
	}
	if n.Intercepts {
		v.Clusters = append(v.Clusters, &mesh.Cluster{
			Name: mesh.InboundPassthroughCluster, Kind: mesh.ClusterOriginalDst, Protocol: mesh.TCP, Inbound: true,
		})
		all, more := n.Families.Any()
		v.Listeners = append(v.Listeners, &mesh.Listener{
			Name: "virtualInbound", Kind: mesh.ListenVirtualInbound, Address: all, Additional: more, Port: c.inboundPort(),
			Cluster: mesh.InboundPassthroughCluster, Inbound: captured, Peer: modes.Mode, Tracing: tr,
		})
	}
}

func bindAddress(n mesh.Node) string { return cmp.Or(n.BindAddress, n.IP, "0.0.0.0") }

func tablePort(name string) uint32 {
	p := uint32(0)
	for _, r := range name {
		p = p*10 + uint32(r-'0')
	}
	return p
}
