package xdsgen

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// table applies a patch of route tables or of what is in them.
func (p *patcher) table(t *patchedTable, patch *mesh.Patch, value proto.Message) {
	name := t.frame.res.Name
	if !p.context(patch, strings.HasPrefix(name, "inbound|")) || !p.tableMatches(patch, name) {
		return
	}
	switch {
	case patch.ApplyTo == "ROUTE_CONFIGURATION":
		if !p.portMatches(patch, "", name) {
			return
		}
		mergeInto(t.frame.msg, value, patch.Operation)
		t.frame.msg.Name = name
		t.frame.change(patch)
	case patch.ApplyTo == "VIRTUAL_HOST" && patch.Operation == "ADD":
		if p.portMatches(patch, "", name) {
			t.frame.msg.VirtualHosts = append(t.frame.msg.VirtualHosts, proto.CloneOf(value.(*routev3.VirtualHost)))
			t.frame.change(patch)
		}
	default:
		p.hosts(t, patch, value)
	}
}

// hosts applies a patch to the virtual hosts of a table, wherever they travel.
func (p *patcher) hosts(t *patchedTable, patch *mesh.Patch, value proto.Message) {
	name := t.frame.res.Name
	var left []*routev3.VirtualHost
	for _, h := range t.frame.msg.VirtualHosts {
		keep := true
		if p.hostMatches(patch, h, h.GetName(), name) {
			changed := false
			if keep, changed = patchHost(patch, h, value); changed {
				t.frame.change(patch)
			}
		}
		if keep {
			left = append(left, h)
		}
	}
	t.frame.msg.VirtualHosts = left
	for _, h := range t.hosts {
		if !h.gone && p.hostMatches(patch, h.msg, strings.TrimPrefix(h.res.Name, name+"/"), name) {
			keep, changed := patchHost(patch, h.msg, value)
			if changed {
				h.change(patch)
			}
			h.gone = !keep
		}
	}
}

// patchHost applies a patch to one virtual host: keep is false if it goes.
func patchHost(patch *mesh.Patch, h *routev3.VirtualHost, value proto.Message) (keep, changed bool) {
	if patch.ApplyTo == "VIRTUAL_HOST" {
		if patch.Operation == "REMOVE" {
			return false, true
		}
		name := h.GetName()
		mergeInto(h, value, patch.Operation)
		h.Name = name
		return true, true
	}
	m := tableMatch(patch)
	h.Routes, changed = edited(h.Routes, patch, func(r *routev3.Route) bool { return routeMatches(m, r) },
		m.Route != "" || m.Action != "", value.(*routev3.Route), len(h.Routes))
	return true, changed
}

func tableMatch(patch *mesh.Patch) mesh.TableMatch {
	if patch.Table == nil {
		return mesh.TableMatch{}
	}
	return *patch.Table
}

// tableMatches looks at a table's name and gateway. An explicit proxy's table serves all ports, and is found by "9080" too.
func (p *patcher) tableMatches(patch *mesh.Patch, name string) bool {
	m := tableMatch(patch)
	if m.Name != "" && m.Name != name && !(name == proxyTable && isPort(m.Name)) {
		return false
	}
	if m.PortName != "" && !slices.Contains(strings.Split(name, "."), m.PortName) { // https.443.NAME.gateway.namespace
		return false
	}
	if m.Gateway == "" {
		return true
	}
	for _, l := range p.view.Listeners {
		if !servesTable(l, name) {
			continue
		}
		for _, o := range l.Origins {
			if o.Kind == "Gateway" && o.Namespace+"/"+o.Name == m.Gateway {
				return true
			}
		}
	}
	return false
}

// proxyTable is the table of an explicit HTTP proxy.
const proxyTable = "http_proxy"

func isPort(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func servesTable(l *mesh.Listener, name string) bool {
	return l.Table == name || slices.ContainsFunc(l.Chains, func(c *mesh.Chain) bool { return c.Table == name })
}

// portMatches holds a patch's port against that of a virtual host or, without one, of the table.
func (p *patcher) portMatches(patch *mesh.Patch, host, table string) bool {
	m := tableMatch(patch)
	if table == proxyTable && isPort(m.Name) && portText(hostPort(host)) != m.Name {
		return false
	}
	if m.Port == 0 {
		return true
	}
	if s := p.servers(table); s != nil {
		return slices.Contains(s, m.Port)
	}
	if parts := strings.Split(table, "|"); len(parts) > 1 {
		return parts[1] == portText(m.Port)
	}
	if parts := strings.Split(table, "."); len(parts) > 1 && isPort(parts[1]) {
		return parts[1] == portText(m.Port)
	}
	if table == proxyTable {
		return hostPort(host) == m.Port
	}
	return table == portText(m.Port)
}

// servers are the Gateways' ports that share a gateway's table, where they are not the bound one, which its name has.
func (p *patcher) servers(table string) []uint32 {
	if p.view.Node.Gateway {
		for _, t := range p.view.Tables {
			if t.Name == table {
				return t.Servers
			}
		}
	}
	return nil
}

// hostPort is the port at the end of a virtual host's name; 0 without one.
func hostPort(host string) uint32 {
	if !strings.Contains(host, ":") {
		return 0
	}
	return requestPort(host, "")
}

func (p *patcher) hostMatches(patch *mesh.Patch, h *routev3.VirtualHost, name, table string) bool {
	m := tableMatch(patch)
	return p.portMatches(patch, name, table) && (m.Host == "" || m.Host == name) && (m.Domain == "" || slices.Contains(h.GetDomains(), m.Domain))
}

func routeMatches(m mesh.TableMatch, r *routev3.Route) bool {
	if m.Route != "" && m.Route != r.GetName() {
		return false
	}
	switch m.Action {
	case "ROUTE":
		return r.GetRoute() != nil
	case "REDIRECT":
		return r.GetRedirect() != nil
	case "DIRECT_RESPONSE":
		return r.GetDirectResponse() != nil
	}
	return true
}
