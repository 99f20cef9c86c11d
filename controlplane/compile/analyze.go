package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// analyze looks for mistakes that no single object shows. Nothing of the World changes by it.
func (c *compiler) analyze() {
	for _, r := range c.rules {
		c.analyzeDestinations(r)
		c.analyzeL4(r)
		c.analyzeGateways(r)
	}
	c.analyzePorts()
	c.analyzeMeshHosts()
	c.analyzeSharedHosts()
	c.analyzeDestinationRules()
	c.analyzeSelectors()
}

// analyzeDestinations checks where routes and mirrors lead.
func (c *compiler) analyzeDestinations(r *rule) {
	for i, route := range r.Routes {
		for j, d := range route.Destinations {
			c.analyzeDestination(r, route, d, index(r.at[i]+".route", j)+".destination", "requests on this route get 503")
		}
		if len(route.Mirrors) == 0 {
			continue
		}
		source := r.source(route)
		spec := source.Spec.GetHttp()[httpIndex(r.at[i])]
		for j, m := range spec.GetMirrors() {
			d := c.destination(&source.Meta, "", m.GetDestination())
			c.analyzeDestination(r, route, &d, index(r.at[i]+".mirrors", j)+".destination", "nothing is mirrored")
		}
		if m := spec.GetMirror(); m != nil {
			d := c.destination(&source.Meta, "", m)
			c.analyzeDestination(r, route, &d, r.at[i]+".mirror", "nothing is mirrored")
		}
	}
}

func httpIndex(at string) (i int) {
	fmt.Sscanf(at, "spec.http[%d]", &i) //nolint:errcheck // written by this package
	return i
}

// analyzeDestination checks one; so says what becomes of traffic to a destination that is not there.
func (c *compiler) analyzeDestination(r *rule, route *mesh.Route, d *mesh.Destination, path, so string) {
	m := &r.source(route).Meta
	svc := c.lookup(d.Hostname, r.Namespace)
	if svc == nil {
		c.report(m, path+".host", istio.Error, codeNotFound,
			fmt.Sprintf("host %s is no service that namespace %s sees: %s", d.Hostname, r.Namespace, so),
			c.suggestHost(d.Hostname, r.Namespace))
		return
	}
	switch {
	case d.Port != 0 && svc.PortByNumber(d.Port) == nil:
		c.report(m, path+".port.number", istio.Error, codeNotFound,
			fmt.Sprintf("%s has no port %d: %s", d.Hostname, d.Port, so), "it has "+portList(svc))
	case d.Port == 0:
		c.analyzePort(r, route, svc, path, so)
	}
	if d.Subset == "" {
		return
	}
	if p, found := c.subset(svc, d.Subset, r.Namespace); !found {
		message := fmt.Sprintf("subset %s of %s is not defined: %s", d.Subset, d.Hostname, so)
		fix := fmt.Sprintf("define it in a DestinationRule for %s", d.Hostname)
		if p != nil {
			message = fmt.Sprintf("subset %s of %s is not defined in its DestinationRule %s/%s (%s): %s",
				d.Subset, d.Hostname, p.Namespace, p.Origin.Name, originAt(p.Origin), so)
			fix = "define it there" + nearest(d.Subset, subsetNames(p))
		}
		c.report(m, path+".subset", istio.Error, codeNotFound, message, fix)
	}
}

// subset looks in the rules that a client of namespace may see (which of them counts depends on the client's own
// namespace: one that defines the subset is enough to be silent). p is the first rule for the host, if any.
func (c *compiler) subset(svc *mesh.Service, name, namespace string) (p *mesh.Policy, found bool) {
	for host := svc.Hostname; host != ""; host = mesh.Wider(host) {
		for _, q := range c.policies[host] {
			if q.Namespace != namespace && !q.Visibility.In(namespace) {
				continue
			}
			if p == nil {
				p = q
			}
			if q.SubsetByName(name) != nil {
				return p, true
			}
		}
	}
	return p, false
}

func subsetNames(p *mesh.Policy) []string {
	var out []string
	for _, s := range p.Subsets {
		out = append(out, s.Name)
	}
	return out
}

func portList(s *mesh.Service) string {
	var out []string
	for _, p := range s.Ports {
		out = append(out, fmt.Sprint(p.Number))
	}
	return strings.Join(out, ", ")
}

// suggestHost finds what was meant: the same name in another namespace, one hidden by exportTo, or one spelt alike.
func (c *compiler) suggestHost(host, namespace string) string {
	if hidden := c.byHost[host]; len(hidden) > 0 {
		return fmt.Sprintf("%s %s/%s exports it elsewhere: add %s to its exportTo",
			hidden[0].Origin.Kind, hidden[0].Namespace, hidden[0].Origin.Name, namespace)
	}
	short, _, _ := strings.Cut(host, ".")
	var names []string
	for _, s := range c.everyService() {
		if s.ShortName == short && s.Visibility.In(namespace) {
			return "write " + s.Hostname
		}
		if strings.HasSuffix(host, "."+namespace+".svc."+c.world.Settings.DomainSuffix) && s.Namespace == namespace && s.ShortName != "" {
			names = append(names, s.ShortName)
		} else {
			names = append(names, s.Hostname)
		}
	}
	word := strings.TrimSuffix(host, "."+namespace+".svc."+c.world.Settings.DomainSuffix)
	if n := nearest(word, names); n != "" {
		return strings.TrimPrefix(n, ", or ")
	}
	return "add a Service of that name, or a ServiceEntry for an external host"
}

// analyzeGateways checks that the gateways exist and let the hosts in.
func (c *compiler) analyzeGateways(r *rule) {
	for i, path := range c.gatewayPaths(r) {
		name := r.Gateways[i]
		if name == mesh.MeshGateway {
			continue
		}
		gw := c.gateway(name)
		if gw == nil {
			c.report(&r.object.Meta, path, istio.Error, codeNotFound,
				fmt.Sprintf("gateway %s not found: the rule does not take effect there", name), "name it namespace/name"+nearest(name, c.gatewayNames()))
			continue
		}
		for j, h := range r.object.Spec.GetHosts() {
			if host := c.fqdn(h, r.Namespace); !admits(gw, host, r.Namespace) {
				c.report(&r.object.Meta, index("spec.hosts", j), istio.Warning, codeNotInGateway,
					fmt.Sprintf("no server of gateway %s (%s) lets host %s in from namespace %s", name, originAt(gw.Origin), host, r.Namespace),
					"it has "+serverHosts(gw))
			}
		}
	}
}

// gatewayPaths pairs r.Gateways, in which repeated names are gone, with their places.
func (c *compiler) gatewayPaths(r *rule) []string {
	out := make([]string, len(r.Gateways))
	for i, g := range r.object.Spec.GetGateways() {
		if k := slices.Index(r.Gateways, gatewayName(g, r.Namespace)); k >= 0 && out[k] == "" {
			out[k] = index("spec.gateways", i)
		}
	}
	return out
}

func (c *compiler) gateway(name string) *mesh.Gateway {
	for _, g := range c.world.Gateways {
		if g.Namespace+"/"+g.Name == name {
			return g
		}
	}
	return nil
}

func (c *compiler) gatewayNames() []string {
	var out []string
	for _, g := range c.world.Gateways {
		out = append(out, g.Namespace+"/"+g.Name)
	}
	return out
}

func admits(g *mesh.Gateway, host, namespace string) bool {
	for _, s := range g.Servers {
		for _, h := range s.Hosts {
			if _, ok := mesh.HostIntersection(h.Host, host); ok && (h.Namespace == "" || h.Namespace == "*" || h.Namespace == namespace) {
				return true
			}
		}
	}
	return false
}

func serverHosts(g *mesh.Gateway) string {
	var out []string
	for _, s := range g.Servers {
		for _, h := range s.Hosts {
			name := h.Host
			if h.Namespace != "" {
				name = h.Namespace + "/" + h.Host
			}
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return strings.Join(out, ", ")
}

// analyzeMeshHosts finds hosts that several VirtualServices claim in the mesh: there the oldest wins whole.
func (c *compiler) analyzeMeshHosts() {
	first := map[string]*rule{}
	for _, r := range c.rules {
		if !slices.Contains(r.Gateways, mesh.MeshGateway) {
			continue
		}
		for i, h := range r.object.Spec.GetHosts() {
			host := c.fqdn(h, r.Namespace)
			have := first[host]
			switch {
			case have == nil:
				first[host] = r
			case have != r && overlap(have.Visibility, r.Visibility):
				c.report(&r.object.Meta, index("spec.hosts", i), istio.Error, codeMeshConflict,
					fmt.Sprintf("VirtualService %s/%s (%s) is older and has %s to itself in the mesh: nothing here takes effect for it",
						have.Namespace, have.Name, originAt(have.Origin), host), "join the two into one VirtualService")
			}
		}
	}
}

func overlap(a, b mesh.Visibility) bool {
	if a == nil || b == nil {
		return true
	}
	for ns := range a {
		if b[ns] {
			return true
		}
	}
	return false
}
