package analyze

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// gatewayPods are pods that Gateways may select: those of a template, or, where nobody shows one, those that a Service selects.
type gatewayPods struct {
	name     string // for messages
	labels   map[string]string
	services []*mesh.Service
	ports    map[string]uint32 // by name, as far as they are known
}

// target is the port of the pods that a Service's port leads to: a number, or its name if nobody tells the number.
func (p *gatewayPods) target(port *mesh.Port) string {
	n := port.On(&mesh.Workload{Ports: p.ports})
	if n == 0 {
		return port.TargetName
	}
	return fmt.Sprint(n)
}

// gatewayPods are those of which some Gateway speaks.
func (a *analyzer) gatewayPods() []gatewayPods {
	spoken := func(labels map[string]string) bool {
		return slices.ContainsFunc(a.world.Gateways, func(g *mesh.Gateway) bool { return len(g.Selector) > 0 && mesh.Selects(g.Selector, labels) })
	}
	var out []gatewayPods
	shown := map[*mesh.Service]bool{}
	for _, t := range a.templates {
		if !spoken(t.labels) {
			continue
		}
		p := gatewayPods{name: objectAt(t.meta), labels: t.labels, ports: istio.NamedPorts(t.spec)}
		for _, s := range a.world.Services {
			if s.Namespace == t.meta.Namespace && s.Selector != nil && mesh.Selects(s.Selector, t.labels) {
				p.services, shown[s] = append(p.services, s), true
			}
		}
		out = append(out, p)
	}
	for _, s := range a.world.Services {
		if s.Selector != nil && !shown[s] && spoken(s.Selector) {
			out = append(out, gatewayPods{name: originAt(s.Origin), labels: s.Selector, services: []*mesh.Service{s}})
		}
	}
	return out
}

// landing is a server, and where it is bound.
type landing struct {
	gateway *mesh.Gateway
	server  *mesh.Server
	path    string // of the server in its object
	at      string // port of the pods
	pods    string // for messages
}

// place is a landing's by the pods' port and the server's own address there.
func (l landing) place() string { return l.at + " " + cmp.Or(l.server.Bind, "0.0.0.0") }

// meetings finds servers that come to one port of some pods, from different ports of theirs or by different selectors, and cannot share
// it: the first one's kind stands there. Of those with one port and one selector compile tells.
func (a *analyzer) meetings() {
	told := map[*mesh.Server]bool{} // by one kind of pods is enough
	for _, p := range a.gatewayPods() {
		to := mesh.Leads(p.services, p.target)
		first := map[string]landing{} // by place, and by place and server name
		for _, g := range a.world.Gateways {
			if !mesh.Selects(g.Selector, p.labels) {
				continue
			}
			for i, s := range g.Servers {
				l := landing{g, s, fmt.Sprintf("spec.servers[%d]", i), cmp.Or(to[s.Port], fmt.Sprint(s.Port)), p.name}
				if !told[s] {
					told[s] = a.meets(l, first)
				}
			}
		}
	}
}

// meets takes a server to its place, and tells whether it said of it that something there is another's.
func (a *analyzer) meets(l landing, first map[string]landing) (told bool) {
	have, taken := first[l.place()]
	if !taken {
		have, first[l.place()] = l, l
	}
	if have.server.Kind() != l.server.Kind() {
		return a.meeting(have, l, ".port", string(have.server.Kind())+" to", fmt.Sprintf("%s here: this server is left out", l.server.Kind()))
	}
	if l.server.TLS == nil {
		return false
	}
	for i, h := range l.server.Hosts {
		name := l.place() + " " + h.Host
		if have, taken = first[name]; !taken {
			first[name] = l
		} else if have.server != l.server {
			told = a.meeting(have, l, fmt.Sprintf(".hosts[%d]", i), "where "+h.Host+" is served by", "that one's certificate holds") || told
		}
	}
	return told
}

// meeting tells what a server loses to the one that was there before, unless compile does.
func (a *analyzer) meeting(have, l landing, path, whose, so string) bool {
	if have.server.Port == l.server.Port && maps.Equal(have.gateway.Selector, l.gateway.Selector) {
		return false
	}
	i := slices.IndexFunc(a.set.Gateways, func(o *istio.Object[*networking.Gateway]) bool {
		return o.Namespace == l.gateway.Namespace && o.Name == l.gateway.Name
	})
	a.report(&a.set.Gateways[i].Meta, l.path+path, istio.Warning, codeGatewayMeeting,
		fmt.Sprintf("port %d leads to port %s of the pods of %s, %s port %d of %s, which comes first, and %s",
			l.server.Port, l.at, l.pods, whose, have.server.Port, originAt(have.server.Origin), so),
		"let a Service lead one of them to a port of its own")
	return true
}
