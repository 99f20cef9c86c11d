package view

import (
	"cmp"
	"maps"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// bind is one server of one Gateway on a port.
type bind struct {
	gateway *mesh.Gateway
	server  *mesh.Server
}

// redirects tells whether plain requests are sent to HTTPS. Those of a TLS server are there already.
func (b bind) redirects() bool { return b.server.HTTPSRedirect && b.class() == plainHTTP }

func (b bind) name() string { return b.gateway.Namespace + "/" + b.gateway.Name }

// class is what servers of one port must agree on: plain HTTP, TLS that is told apart by server names, or bytes.
type class uint8

const (
	plainHTTP class = iota
	secure
	plainTCP
)

func (b bind) class() class {
	switch {
	case b.server.TLS != nil || b.server.Passthrough:
		return secure
	case b.server.Protocol.IsHTTP():
		return plainHTTP
	}
	return plainTCP
}

// gateway adds a listener for each port of the Gateways that select the node. Without any there is no listener; without a
// rule an HTTP server's table has no host and every request gets 404.
func (s *scope) gateway(v *mesh.View, n mesh.Node) {
	byPort := map[uint32][]bind{}
	for _, g := range s.cache.world.Gateways {
		if !mesh.Selects(g.Selector, n.Labels) {
			continue
		}
		for _, srv := range g.Servers {
			byPort[srv.Port] = append(byPort[srv.Port], bind{g, srv})
		}
	}
	for _, port := range slices.Sorted(maps.Keys(byPort)) {
		s.gatewayListener(v, n, port, byPort[port])
	}
	s.gatewaySecrets(v, n)
}

// gatewayListener makes one port's. Of servers that cannot share it the first one's kind stands, as in Istio.
func (s *scope) gatewayListener(v *mesh.View, n mesh.Node, port uint32, binds []bind) {
	bound := port
	if p, ok := n.Ports[port]; ok {
		bound = p
	}
	first := binds[0].class()
	binds = slices.DeleteFunc(binds, func(b bind) bool { return b.class() != first })
	address := cmp.Or(n.BindAddress, binds[0].server.Bind, "0.0.0.0")
	l := &mesh.Listener{
		Name: address + "_" + portString(bound), Kind: mesh.ListenGateway, Address: address, Port: bound, Tracing: tracer(v),
	}
	for _, b := range binds {
		l.Origins = append(l.Origins, b.server.Origin)
	}
	if first == plainHTTP {
		t := s.gatewayTable(n, "http."+portString(port), port, binds)
		l.Table = t.Name
		v.Tables = append(v.Tables, t)
	} else {
		s.gatewayChains(v, n, l, port, binds)
		if len(l.Chains) == 0 {
			return // no rule: nothing listens, as in Istio
		}
	}
	v.Listeners = append(v.Listeners, l)
}

// gatewayHost collects what several rules and servers say about one host.
type gatewayHost struct {
	entries []entry
	last    []entry // routes that match everything: after all others, the oldest rule's first, as in Istio
	tls     bool
	names   []string
	origins []mesh.Origin
}

func (s *scope) gatewayTable(n mesh.Node, name string, port uint32, binds []bind) *mesh.RouteTable {
	hosts := map[string]*gatewayHost{}
	at := func(h string) *gatewayHost {
		if hosts[h] == nil {
			hosts[h] = &gatewayHost{}
		}
		return hosts[h]
	}
	for _, r := range s.rules {
		for _, b := range binds {
			if slices.Contains(r.Gateways, b.name()) {
				s.bindRule(r, b, place{gateways: []string{b.name()}, port: port}, at)
			}
		}
	}
	for _, b := range binds {
		for _, h := range b.server.Hosts {
			if b.redirects() {
				g := at(h.Host)
				g.tls, g.origins = true, append(g.origins, b.server.Origin)
			}
		}
	}
	t := &mesh.RouteTable{Name: name, Gateway: true}
	var out []*mesh.VirtualHost
	for _, h := range slices.SortedFunc(maps.Keys(hosts), func(a, b string) int {
		if mesh.HostLess(a, b) {
			return -1
		}
		return 1
	}) {
		out = append(out, s.gatewayVirtualHost(n, h, hosts[h], place{port: port}))
	}
	t.VirtualHosts = distinct(out)
	return t
}

// bindRule adds a rule's routes to each host that both it and the server name.
func (s *scope) bindRule(r *mesh.HostRules, b bind, at place, host func(string) *gatewayHost) {
	entries := s.entries(r, at)
	if len(entries) == 0 {
		return
	}
	for _, rh := range r.Hosts {
		for _, sh := range b.server.Hosts {
			if sh.Namespace != "" && sh.Namespace != "*" && sh.Namespace != r.Namespace {
				continue
			}
			h, ok := mesh.HostIntersection(sh.Host, rh)
			if !ok {
				continue
			}
			g := host(h)
			g.tls = g.tls || b.redirects()
			if slices.ContainsFunc(append(g.entries, g.last...), func(e entry) bool { return e.rule == r }) {
				continue // two servers on the port name the host
			}
			g.names = append(g.names, b.name())
			for _, e := range entries {
				before, all := e.split()
				g.entries, g.last = append(g.entries, before...), append(g.last, all...)
			}
		}
	}
}

// gatewayVirtualHost names the host without a port: a gateway's tables match whatever port the caller wrote.
func (s *scope) gatewayVirtualHost(n mesh.Node, host string, g *gatewayHost, at place) *mesh.VirtualHost {
	vh := &mesh.VirtualHost{
		Name: host + ":" + portString(at.port), Domains: []string{host}, RequireTLS: g.tls, Origins: g.origins,
	}
	entries := append(slices.Clone(g.entries), g.last...)
	if i := slices.IndexFunc(entries, func(e entry) bool { return len(e.matches) == 0 || e.matches[0].CatchAll() }); i >= 0 {
		entries = entries[:i+1] // the oldest rule's; others cannot be reached
	}
	s.fill(vh, entries, at)
	var from []mesh.Origin
	vh.RateLimit, from = s.cache.limits(n, func(l *mesh.LimitPolicy) bool {
		return slices.ContainsFunc(l.Gateways, func(name string) bool { return slices.Contains(g.names, name) })
	})
	vh.Origins = append(vh.Origins, from...)
	return vh
}
