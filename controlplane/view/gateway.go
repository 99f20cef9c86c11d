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
func (b bind) redirects() bool { return b.server.HTTPSRedirect && b.server.Kind() == mesh.ServesHTTP }

func (b bind) name() string { return b.gateway.Namespace + "/" + b.gateway.Name }

// gateway adds a listener for each address and port that the Gateways that select the node come to. Without any there is no
// listener; without a rule an HTTP server's table has no host and every request gets 404.
func (s *scope) gateway(v *mesh.View, n mesh.Node) {
	bySocket := map[socket][]bind{}
	to := s.cache.serverPorts(n)
	all, _ := n.Families.Any()
	for _, g := range s.cache.world.Gateways {
		if !mesh.Selects(g.Selector, n.Labels) {
			continue
		}
		for _, srv := range g.Servers {
			at := socket{to(srv.Port), cmp.Or(n.BindAddress, srv.Bind, all)}
			bySocket[at] = append(bySocket[at], bind{g, srv})
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(bySocket), compareSockets) {
		s.gatewayListener(v, n, at, bySocket[at])
	}
	s.gatewaySecrets(v, n)
}

// gatewayListener makes one socket's. Of servers that cannot share it the first one's kind stands, as in Istio.
func (s *scope) gatewayListener(v *mesh.View, n mesh.Node, at socket, binds []bind) {
	first := binds[0].server.Kind()
	binds = slices.DeleteFunc(binds, func(b bind) bool { return b.server.Kind() != first })
	l := &mesh.Listener{
		Name: at.address + "_" + portString(at.port), Kind: mesh.ListenGateway, Address: at.address, Port: at.port, Tracing: tracer(v),
	}
	if all, more := n.Families.Any(); at.address == all {
		l.Additional = more
	}
	for _, b := range binds {
		l.Origins = append(l.Origins, b.server.Origin)
	}
	if first == mesh.ServesHTTP {
		t := s.gatewayTable(n, plainTable(n, at, binds[0]), binds)
		t.Servers = servers(t.Name, binds)
		l.Table = t.Name
		v.Tables = append(v.Tables, t)
	} else {
		s.gatewayChains(v, n, l, binds)
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
	port    uint32  // of the first server that names it
	tls     bool
	names   []string
	origins []mesh.Origin
}

func (s *scope) gatewayTable(n mesh.Node, name string, binds []bind) *mesh.RouteTable {
	hosts := map[string]*gatewayHost{}
	at := func(h string, b bind) *gatewayHost {
		if hosts[h] == nil {
			hosts[h] = &gatewayHost{port: b.server.Port}
		}
		return hosts[h]
	}
	for _, r := range s.rules {
		for _, b := range binds {
			if slices.Contains(r.Gateways, b.name()) {
				s.bindRule(r, b, at)
			}
		}
	}
	for _, b := range binds {
		for _, h := range b.server.Hosts {
			if b.redirects() {
				g := at(h.Host, b)
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
		out = append(out, s.gatewayVirtualHost(n, h, hosts[h]))
	}
	t.VirtualHosts = distinct(out)
	return t
}

// bindRule adds a rule's routes to each host that both it and the server name.
func (s *scope) bindRule(r *mesh.HostRules, b bind, host func(string, bind) *gatewayHost) {
	entries := s.entries(r, place{gateways: []string{b.name()}, port: b.server.Port})
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
			g := host(h, b)
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
func (s *scope) gatewayVirtualHost(n mesh.Node, host string, g *gatewayHost) *mesh.VirtualHost {
	vh := &mesh.VirtualHost{
		Name: host + ":" + portString(g.port), Domains: []string{host}, RequireTLS: g.tls, Origins: g.origins,
	}
	entries := append(slices.Clone(g.entries), g.last...)
	if i := slices.IndexFunc(entries, func(e entry) bool { return len(e.matches) == 0 || e.matches[0].CatchAll() }); i >= 0 {
		entries = entries[:i+1] // the oldest rule's; others cannot be reached
	}
	s.fill(vh, entries, place{port: g.port})
	var from []mesh.Origin
	vh.RateLimit, from = s.cache.limits(n, func(l *mesh.LimitPolicy) bool {
		return slices.ContainsFunc(l.Gateways, func(name string) bool { return slices.Contains(g.names, name) })
	})
	vh.Origins = append(vh.Origins, from...)
	return vh
}
