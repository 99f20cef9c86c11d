package view

import (
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Group is the sidecars that see the same outbound. It keeps what it takes to say what one host's part is.
type Group struct {
	id     string
	scope  *scope
	counts map[string]int // virtual hosts by table
	eighty int            // services with HTTP on port 80: hosts that only rules have stand in their table
}

// Patch is the part of a Group that some hosts are.
type Patch struct {
	Clusters  []*mesh.Cluster
	Endpoints []*mesh.EndpointGroup
	Hosts     []TableHost
	// ClustersBefore are the names of the clusters, and HostsBefore the "table/name" of the virtual hosts, that the same hosts were
	// before; many of them stand above again.
	ClustersBefore, HostsBefore []string
}

// TableHost is a virtual host with its table, of which the hosts are not to be looked at.
type TableHost struct {
	Table *mesh.RouteTable
	Host  *mesh.VirtualHost
}

// Group returns the one that a sidecar belongs to; made is true if it is new, and has to be taken by Whole. Nil for gateways.
func (t *Tracker) Group(n mesh.Node) (g *Group, made bool) {
	if n.Gateway {
		return nil, false
	}
	n = t.cache.listening(n)
	sc := t.cache.sidecarOf(n)
	id := t.cache.scopeID(n, sc) + " " + string(n.Host())
	t.mu.Lock()
	defer t.mu.Unlock()
	if g = t.groups[id]; g != nil {
		return g, false
	}
	t.cache.mu.Lock()
	s := newScope(t.cache, n, sc)
	t.cache.mu.Unlock()
	g = &Group{id: id, scope: s, counts: map[string]int{}}
	for _, table := range s.tables {
		if !table.Own {
			g.counts[table.Name] = len(table.VirtualHosts)
		}
	}
	for _, svc := range s.services {
		g.count80(svc, 1)
	}
	t.groups[id] = g
	return g, true
}

// Whole is all that the group sees: clusters, endpoints and tables; no listeners. The group forgets the parts then: they
// are worth their memory only to whom makes something of them.
func (g *Group) Whole() *mesh.View {
	s := g.scope
	v := &mesh.View{Node: s.node, Settings: g.Settings(), Tables: s.tables, Clusters: s.clusters, Endpoints: s.endpoints}
	tables := make([]*mesh.RouteTable, len(s.tables))
	for i, t := range s.tables {
		bare := *t
		bare.VirtualHosts = nil
		tables[i] = &bare
	}
	s.tables, s.clusters, s.endpoints, s.services = tables, nil, nil, nil
	return v
}

// Has tells whether a group is still in use: some changes make all groups anew.
func (t *Tracker) Has(g *Group) bool { return t.groups[g.id] == g }

// Drop has a group made anew when it is asked for again.
func (t *Tracker) Drop(g *Group) {
	if t.Has(g) {
		delete(t.groups, g.id)
	}
}

// Node is one of the group's.
func (g *Group) Node() mesh.Node { return g.scope.node }

// Settings as the group has them.
func (g *Group) Settings() mesh.Settings { return g.scope.cache.settings(g.scope.node) }

// Cluster finds one of the group's clusters, nil if there is none of that name.
func (g *Group) Cluster(name string) *mesh.Cluster { return g.scope.named[name] }

// Patch takes a change up. False: the change is of more than single hosts; the group is to be dropped.
func (t *Tracker) Patch(g *Group, ch Change) (p Patch, ok bool) {
	s := g.scope
	if ch.All || s.sidecar != nil && s.sidecar.Egress != nil {
		return p, false
	}
	touched := make([]string, 0, len(ch.Hosts)+len(ch.Clusters))
	for h := range ch.Hosts {
		touched = append(touched, h)
	}
	for h := range ch.Clusters {
		if !ch.Hosts[h] {
			touched = append(touched, h)
		}
	}
	slices.Sort(touched)
	for _, h := range touched {
		if !g.leave(h, ch, &p) {
			return p, false
		}
	}
	for _, h := range touched { // now that all have left: where a host of rules alone stood depended on the count
		if ch.Hosts[h] && ch.Clusters[h] {
			g.count80(s.reach[h], -1)
		}
	}
	for _, h := range touched {
		g.enter(h, ch)
	}
	p.Clusters, p.Endpoints = s.clusters, s.endpoints
	s.clusters, s.endpoints = nil, nil
	for _, h := range touched {
		if ch.Hosts[h] && !g.hosts(h, &p) {
			return p, false
		}
	}
	for _, n := range g.counts {
		if n == 0 {
			return p, false // a table goes, and its listener
		}
	}
	return p, g.eighty > 0 || g.counts["80"] == 0
}

func (g *Group) count80(svc *mesh.Service, by int) {
	if svc != nil && slices.ContainsFunc(svc.Ports, func(p *mesh.Port) bool { return p.Number == 80 && g.scope.sharesTable(svc, p) }) {
		g.eighty += by
	}
}

// leave takes out what a host was.
func (g *Group) leave(host string, ch Change, p *Patch) bool {
	s := g.scope
	if svc := s.reach[host]; svc != nil {
		for _, port := range svc.Ports {
			if port.Protocol.IsBytes() && ch.Hosts[host] {
				return false
			}
			if ch.Clusters[host] {
				g.leaveClusters(svc, port, p)
			}
		}
	}
	if !ch.Hosts[host] {
		return true
	}
	for _, at := range g.places(host) {
		p.HostsBefore = append(p.HostsBefore, at.table+"/"+at.name)
		g.counts[at.table]--
	}
	return true
}

func (g *Group) leaveClusters(svc *mesh.Service, port *mesh.Port, p *Patch) {
	s := g.scope
	names := []string{mesh.OutboundCluster(port.Number, "", svc.Hostname)}
	if policy := s.policyOf[svc.Hostname]; policy != nil {
		for _, sub := range policy.Subsets {
			names = append(names, mesh.OutboundCluster(port.Number, sub.Name, svc.Hostname))
		}
	}
	for _, n := range names {
		delete(s.named, n)
	}
	p.ClustersBefore = append(p.ClustersBefore, names...)
}

// tablePlace is where a virtual host stands.
type tablePlace struct{ table, name string }

// places are where a host's virtual hosts stand as things are in the scope.
func (g *Group) places(host string) []tablePlace {
	s := g.scope
	var out []tablePlace
	add := func(port uint32) {
		name := host + ":" + portString(port)
		if s.node.Intercepts {
			out = append(out, tablePlace{portString(port), name})
		}
		if s.node.HTTPProxyPort != 0 {
			out = append(out, tablePlace{ProxyTable, name})
		}
	}
	if svc := s.reach[host]; svc != nil {
		for _, port := range svc.Ports {
			add(port.Number)
		}
	} else if r := s.exact[host]; r != nil && len(s.entries(r, place{gateways: []string{mesh.MeshGateway}, port: 80})) > 0 {
		add(80)
		if s.node.Intercepts && g.eighty == 0 {
			out = out[1:]
		}
	}
	return out
}

// enter puts in what a host is now, as far as other hosts look at it.
func (g *Group) enter(host string, ch Change) {
	s := g.scope
	if ch.Hosts[host] {
		delete(s.exact, host)
		for _, r := range s.cache.exact[host] {
			if r.Visibility.In(s.node.Namespace) {
				s.exact[host] = r
				break
			}
		}
	}
	if !ch.Clusters[host] {
		return
	}
	delete(s.reach, host)
	delete(s.policyOf, host)
	svc := s.importHost(host)
	if svc == nil {
		return
	}
	s.reach[host] = svc
	s.buildCluster(svc)
	if ch.Hosts[host] {
		g.count80(svc, 1)
	}
}

// hosts makes a host's virtual hosts. False: one of them belongs to a table that does not stand.
func (g *Group) hosts(host string, p *Patch) bool {
	s := g.scope
	for _, at := range g.places(host) {
		t := g.table(at.table)
		if t == nil {
			return false
		}
		vh := g.virtualHost(host, at)
		if vh == nil {
			return false
		}
		if t.Proxy {
			vh = withDomains(vh, tablePort(at.name[len(host)+1:]))
		}
		only := distinct([]*mesh.VirtualHost{vh})
		if len(only) == 0 {
			return false
		}
		vh = only[0]
		g.counts[at.table]++
		p.Hosts = append(p.Hosts, TableHost{t, vh})
	}
	svc := s.reach[host]
	return svc == nil || !slices.ContainsFunc(svc.Ports, func(port *mesh.Port) bool { return port.Protocol.IsBytes() })
}

func (g *Group) table(name string) *mesh.RouteTable {
	for _, t := range g.scope.tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

func (g *Group) virtualHost(host string, at tablePlace) *mesh.VirtualHost {
	s := g.scope
	if svc := s.reach[host]; svc != nil {
		return s.serviceHost(svc, tablePort(at.name[len(host)+1:]))
	}
	return s.ruleHost(host)
}

// Own is the view of what is a sidecar's alone: its listeners, and what stands before the workload.
func (t *Tracker) Own(g *Group, n mesh.Node) *mesh.View {
	s := &scope{}
	*s = *g.scope
	s.node = t.cache.listening(n)
	return t.cache.own(s, s.node)
}
