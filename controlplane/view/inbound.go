package view

import (
	"cmp"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// ports lists the workload ports that services lead to, found by the node's labels: a proxy that no manifest names has
// them too. Sorted; of several services on one port the first by host name gives protocol and name.
func (c *Cache) ports(n mesh.Node) []*mesh.Inbound {
	if s := c.sidecarOf(n); s != nil && len(s.Ingress) > 0 {
		return c.ingressPorts(s, n)
	}
	w := c.workload(n)
	byPort := map[uint32]*mesh.Inbound{}
	for _, svc := range c.serving[n.Namespace] {
		if !serves(svc, n) {
			continue
		}
		for _, p := range svc.Ports {
			port := ownPort(p, w)
			if byPort[port] != nil {
				continue
			}
			in := &mesh.Inbound{Port: port, Protocol: p.Protocol, Cluster: mesh.InboundCluster(port), Hostname: svc.Hostname}
			if p.Protocol.IsHTTP() {
				in.Table = in.Cluster
			}
			byPort[port] = in
		}
	}
	var out []*mesh.Inbound
	for _, in := range byPort {
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b *mesh.Inbound) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

// ownPort is where the workload answers for a service port. A named port that no manifest has is the usual number.
func ownPort(p *mesh.Port, w *mesh.Workload) uint32 { return cmp.Or(p.On(w), p.Number) }

func serves(svc *mesh.Service, n mesh.Node) bool {
	return svc.Namespace == n.Namespace && svc.Selector != nil && mesh.Selects(svc.Selector, n.Labels)
}

// workload finds the node's own entry, by name or address; if no manifest has it, one that knows what the proxy says of its ports.
func (c *Cache) workload(n mesh.Node) *mesh.Workload {
	for _, w := range c.world.Workloads {
		if w.Namespace == n.Namespace && (w.Name == n.Name || w.Address == n.IP) {
			return w
		}
	}
	return &mesh.Workload{Ports: n.PodPorts}
}

// inboundCluster leads to the application: where the connection was meant to go if it was intercepted, as in Istio, for an
// application may listen on the pod's address only. Of its DestinationRule only the connection pool counts here, as in Istio.
func (c *Cache) inboundCluster(n mesh.Node, in *mesh.Inbound) *mesh.Cluster {
	cl := &mesh.Cluster{
		Name: in.Cluster, Kind: mesh.ClusterStatic, Protocol: in.Protocol, Inbound: true,
		Hosts:    []*mesh.Endpoint{{Address: cmp.Or(n.AppAddress, n.Families.Loopback()), Port: in.Port, Ready: true}},
		Hostname: in.Hostname, Namespace: n.Namespace, Port: in.Port,
	}
	if n.Intercepts && n.AppAddress == "" && !c.world.Settings.InboundLocalhost {
		cl.Kind, cl.Hosts = mesh.ClusterOriginalDst, nil
	}
	sidecar := c.sidecarOf(n)
	if i := ingressOf(sidecar, in.Port); i != nil {
		setTarget(cl, i, n)
	}
	pool := inboundPool(sidecar, in.Port)
	if pool != nil {
		cl.Traffic = &mesh.Traffic{Pool: pool}
	}
	svc, port := c.behind(n, in)
	if svc == nil {
		return cl
	}
	cl.Origins = append(cl.Origins, svc.Origin)
	cl.StatName = statName(c.world.Settings.InboundStat, svc, svc.PortByNumber(port), "", in.Port)
	s := &scope{cache: c, node: n}
	if p := s.findPolicy(svc); p != nil && pool == nil {
		if t := p.Traffic.ForPort(port); t != nil && t.Pool != nil {
			cl.Traffic = &mesh.Traffic{Pool: t.Pool}
			cl.Origins = append(cl.Origins, p.Origin)
		}
	}
	return cl
}

// behind finds the service and its port that in was made from.
func (c *Cache) behind(n mesh.Node, in *mesh.Inbound) (*mesh.Service, uint32) {
	w := c.workload(n)
	for _, svc := range c.services[in.Hostname] {
		if !serves(svc, n) {
			continue
		}
		for _, p := range svc.Ports {
			if ownPort(p, w) == in.Port {
				return svc, p.Number
			}
		}
	}
	return nil, 0
}

// inboundTable leads every request to the application, past the workload's rate limits.
func (c *Cache) inboundTable(n mesh.Node, in *mesh.Inbound) *mesh.RouteTable {
	vh := &mesh.VirtualHost{
		Name: "inbound|http|" + portString(in.Port), Domains: []string{"*"},
		Routes: []*mesh.BoundRoute{{
			Name:     "default",
			Route:    &mesh.Route{Name: "default"},
			Clusters: []*mesh.WeightedCluster{{Cluster: in.Cluster}},
		}},
	}
	vh.RateLimit, vh.Origins = c.limits(n, func(l *mesh.LimitPolicy) bool {
		return slices.ContainsFunc(l.Services, func(host string) bool { return c.leadsTo(host, n, in.Port) })
	})
	return &mesh.RouteTable{Name: in.Table, CatchAll: vh, Inbound: true}
}

// leadsTo tells whether a service sends requests to this port of the workload.
func (c *Cache) leadsTo(host string, n mesh.Node, port uint32) bool {
	w := c.workload(n)
	for _, svc := range c.services[host] {
		if serves(svc, n) && slices.ContainsFunc(svc.Ports, func(p *mesh.Port) bool {
			return ownPort(p, w) == port
		}) {
			return true
		}
	}
	return false
}

// limits joins the RateLimits that the proxy enforces: those that select its labels (or, saying nothing, its
// namespace), and those whose targets include what targeted knows. Nil if there are none.
func (c *Cache) limits(n mesh.Node, targeted func(*mesh.LimitPolicy) bool) (*ratelimit.Config, []mesh.Origin) {
	var cfg *ratelimit.Config
	var from []mesh.Origin
	for _, l := range c.world.Limits {
		if len(l.Services)+len(l.Gateways) > 0 {
			if !targeted(l) {
				continue
			}
		} else if l.Namespace != n.Namespace && l.Namespace != c.world.Settings.RootNamespace || !mesh.Selects(l.Selector, n.Labels) {
			continue
		}
		if cfg == nil {
			cfg = &ratelimit.Config{}
		}
		cfg.Limits = append(cfg.Limits, l.Config.Limits...)
		from = append(from, l.Origin)
	}
	c.askService(cfg)
	return cfg, from
}
