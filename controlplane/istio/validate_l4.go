package istio

import (
	"fmt"
	"net/netip"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// delegate checks a VirtualService without hosts, which others may delegate to.
func (v *routeValidator) delegate() {
	switch {
	case len(v.spec.Http) == 0 || len(v.spec.Tls)+len(v.spec.Tcp) > 0:
		v.fail("spec.hosts", "hosts is required", "name the hosts whose requests these routes are for")
	case len(v.spec.Gateways) > 0:
		v.fail("spec.gateways", "a VirtualService without hosts is there to be delegated to: its root says which gateways", "take gateways away, or add hosts")
	}
	for i, r := range v.spec.Http {
		for j, m := range r.Match {
			if len(m.Gateways) > 0 {
				v.fail(index(index("spec.http", i)+".match", j)+".gateways", "the root of a delegation says which gateways", "take it away")
			}
		}
	}
}

// l4 checks the tcp and tls routes.
func (v *routeValidator) l4() {
	for i, r := range v.spec.Tcp {
		path := index("spec.tcp", i)
		for j, m := range r.Match {
			at := index(path+".match", j)
			v.subnets(at+".destinationSubnets", m.DestinationSubnets)
			if m.Port != 0 {
				v.port(at+".port", m.Port)
			}
			v.labels(at+".sourceLabels", m.SourceLabels)
		}
		v.l4Route(path, r.Route)
	}
	for i, r := range v.spec.Tls {
		path := index("spec.tls", i)
		if len(r.Match) == 0 {
			v.fail(path, "match is required: which server names these are", "add match: [{sniHosts: [HOST]}]")
		}
		for j, m := range r.Match {
			at := index(path+".match", j)
			v.sniHosts(at+".sniHosts", m.SniHosts)
			v.subnets(at+".destinationSubnets", m.DestinationSubnets)
			if m.Port != 0 {
				v.port(at+".port", m.Port)
			}
			v.labels(at+".sourceLabels", m.SourceLabels)
		}
		v.l4Route(path, r.Route)
	}
}

// sniHosts checks server names, each of which must be one that the VirtualService's hosts have.
func (v *routeValidator) sniHosts(path string, names []string) {
	if len(names) == 0 {
		v.fail(path, "sniHosts is required", "name the server names; \"*\" is not allowed in the mesh")
	}
	for i, n := range names {
		at := index(path, i)
		if !wildcard(n) {
			v.fail(at, fmt.Sprintf("%q is not a host", n), "write a name or *.domain")
			continue
		}
		ok := false
		for _, h := range v.spec.Hosts {
			ok = ok || sniWithin(strings.ToLower(h), strings.ToLower(n))
		}
		if !ok && len(v.spec.Hosts) > 0 {
			v.fail(at, fmt.Sprintf("%q is no name that one of the hosts stands for", n), "add it to hosts")
		}
	}
}

func sniWithin(host, name string) bool {
	if suffix, ok := strings.CutPrefix(host, "*"); ok {
		return strings.HasSuffix(strings.TrimPrefix(name, "*"), suffix)
	}
	return host == name
}

func (v *validator) subnets(path string, in []string) {
	for i, s := range in {
		if _, err := netip.ParsePrefix(s); err == nil || isIP(s) {
			continue
		}
		v.fail(index(path, i), fmt.Sprintf("%q is no address and no range of them", s), "write for example 10.0.0.0/8")
	}
}

func (v *routeValidator) l4Route(path string, in []*networking.RouteDestination) {
	path += ".route"
	if len(in) == 0 {
		v.fail(path, "route is required", "add route: [{destination: {host: NAME}}]")
	}
	var sum int64
	for i, d := range in {
		p := index(path, i)
		v.destination(d.Destination, p+".destination")
		v.notNegative(p+".weight", d.Weight)
		sum += int64(d.Weight)
	}
	if len(in) < 2 {
		return
	}
	v.weights(path, sum)
	if sum == 0 {
		v.fail(path, fmt.Sprintf("%d destinations and no weights", len(in)), "give each destination a weight")
	}
}
