package compile

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// l4 lowers the tcp and tls routes of a VirtualService.
func (c *compiler) l4(r *rule) {
	m := &r.object.Meta
	for i, in := range r.object.Spec.GetTcp() {
		path := index("spec.tcp", i)
		out := &mesh.L4Route{Origin: origin(m, path)}
		for _, x := range in.GetMatch() {
			out.Matches = append(out.Matches, &mesh.L4Match{
				Subnets: subnets(x.GetDestinationSubnets()), Port: x.GetPort(), Gateways: c.matchGateways(x.GetGateways(), m.Namespace),
				SourceLabels: x.GetSourceLabels(), SourceNamespace: x.GetSourceNamespace(),
			})
		}
		if c.l4Destinations(m, path, out, in.GetRoute()) {
			r.TCP = append(r.TCP, out)
		}
	}
	for i, in := range r.object.Spec.GetTls() {
		path := index("spec.tls", i)
		out := &mesh.L4Route{Origin: origin(m, path)}
		for _, x := range in.GetMatch() {
			out.Matches = append(out.Matches, &mesh.L4Match{
				SNI: lower(x.GetSniHosts()), Subnets: subnets(x.GetDestinationSubnets()), Port: x.GetPort(),
				Gateways:     c.matchGateways(x.GetGateways(), m.Namespace),
				SourceLabels: x.GetSourceLabels(), SourceNamespace: x.GetSourceNamespace(),
			})
		}
		if c.l4Destinations(m, path, out, in.GetRoute()) {
			r.TLS = append(r.TLS, out)
		}
	}
}

func lower(names []string) []string {
	var out []string
	for _, n := range names {
		if n = strings.ToLower(n); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func (c *compiler) matchGateways(gateways []string, namespace string) []string {
	var out []string
	for _, g := range gateways {
		out = append(out, gatewayName(g, namespace))
	}
	return out
}

// subnets writes addresses as ranges of one.
func subnets(in []string) []string {
	var out []string
	for _, s := range in {
		if a, err := netip.ParseAddr(s); err == nil {
			s = netip.PrefixFrom(a, a.BitLen()).String()
		}
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked().String())
		}
	}
	return out
}

// l4Destinations are like those of HTTP, without headers.
func (c *compiler) l4Destinations(m *istio.Meta, path string, r *mesh.L4Route, in []*networking.RouteDestination) bool {
	for i, d := range in {
		out := c.destination(m, index(path+".route", i), d.GetDestination())
		out.Weight = uint32(max(d.GetWeight(), 0))
		r.Destinations = append(r.Destinations, &out)
	}
	return c.weighted(m, path, r.Destinations)
}

// analyzeL4 checks where tcp and tls routes lead.
func (c *compiler) analyzeL4(r *rule) {
	for i, l := range r.object.Spec.GetTcp() {
		c.analyzeL4Route(r, index("spec.tcp", i), l.GetRoute())
	}
	for i, l := range r.object.Spec.GetTls() {
		c.analyzeL4Route(r, index("spec.tls", i), l.GetRoute())
	}
}

// analyzeTunnels tells of a route between whose destinations there is no agreement on a tunnel: then there is none.
func (c *compiler) analyzeTunnels(r *rule, path string, in []*networking.RouteDestination) {
	var first *mesh.Tunnel
	for i, x := range in {
		d := c.destination(&r.object.Meta, "", x.GetDestination())
		t := c.tunnelOf(c.lookup(d.Hostname, r.Namespace), d.Subset, r.Namespace)
		if i == 0 {
			first = t
		} else if !reflect.DeepEqual(t, first) {
			c.report(&r.object.Meta, index(path+".route", i)+".destination", istio.Warning, codeTunnel,
				"the DestinationRules of this route's destinations do not agree on a tunnel: no connection on it goes in one", "write the same tunnel for each")
			return
		}
	}
}

// tunnelOf is a service's, or a subset's, as the first DestinationRule that a client of the namespace sees has it.
func (c *compiler) tunnelOf(svc *mesh.Service, subset, namespace string) *mesh.Tunnel {
	if svc == nil {
		return nil
	}
	p, _ := c.subset(svc, subset, namespace)
	if p == nil {
		return nil
	}
	t := p.Traffic
	if s := p.SubsetByName(subset); s != nil {
		t = s.Traffic
	}
	if t == nil {
		return nil
	}
	return t.Tunnel
}

func (c *compiler) analyzeL4Route(r *rule, path string, in []*networking.RouteDestination) {
	const so = "connections on this route are closed"
	m := &r.object.Meta
	c.analyzeTunnels(r, path, in)
	for i, x := range in {
		at := index(path+".route", i) + ".destination"
		d := c.destination(m, "", x.GetDestination())
		svc := c.lookup(d.Hostname, r.Namespace)
		switch {
		case svc == nil:
			c.report(m, at+".host", istio.Error, codeNotFound,
				fmt.Sprintf("host %s is no service that namespace %s sees: %s", d.Hostname, r.Namespace, so),
				c.suggestHost(d.Hostname, r.Namespace))
		case d.Port != 0 && svc.PortByNumber(d.Port) == nil:
			c.report(m, at+".port.number", istio.Error, codeNotFound,
				fmt.Sprintf("%s has no port %d: %s", d.Hostname, d.Port, so), "it has "+portList(svc))
		case d.Subset != "":
			if _, found := c.subset(svc, d.Subset, r.Namespace); !found {
				c.report(m, at+".subset", istio.Error, codeNotFound,
					fmt.Sprintf("subset %s of %s is not defined: %s", d.Subset, d.Hostname, so), "define it in a DestinationRule for "+d.Hostname)
			}
		}
	}
}
