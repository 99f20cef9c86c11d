package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// chainSet collects a listener's filter chains and keeps a connection from having two: Envoy refuses a listener with chains
// of equal conditions. The first keeps what it asked for.
type chainSet struct {
	chains []*mesh.Chain
	taken  map[string]bool
}

// add takes a chain with those of its server names and ranges that no chain has yet: Envoy refuses a listener in which two chains
// fit the same. Names of which not the same ranges are free are parted.
func (c *chainSet) add(ch *mesh.Chain) {
	if c.taken == nil {
		c.taken = map[string]bool{}
	}
	names, ranges := ch.SNI, ch.Destinations
	if len(names) == 0 {
		names = []string{""}
	}
	if len(ranges) == 0 {
		ranges = []string{""}
	}
	parts := map[string]*mesh.Chain{} // by the ranges that are free
	for _, n := range names {
		var free []string
		for _, r := range ranges {
			if key := n + " " + masked(r); !c.taken[key] {
				c.taken[key] = true
				free = append(free, r)
			}
		}
		if len(free) == 0 {
			continue
		}
		part := parts[strings.Join(free, ",")]
		if part == nil {
			cut := *ch
			part = &cut
			part.SNI, part.Destinations = nil, free
			if len(parts) > 0 {
				part.Name += "." + n
			}
			parts[strings.Join(free, ",")] = part
			c.chains = append(c.chains, part)
		}
		part.SNI = append(part.SNI, n)
	}
	for _, part := range parts {
		if len(ch.SNI) == 0 {
			part.SNI = nil
		}
		if len(ch.Destinations) == 0 {
			part.Destinations = nil
		}
	}
}

// masked is a range of addresses, or one address, in the one form that all ways to write it have.
func masked(r string) string {
	if p, err := netip.ParsePrefix(r); err == nil {
		return p.Masked().String()
	}
	if a, err := netip.ParseAddr(r); err == nil {
		return netip.PrefixFrom(a, a.BitLen()).String()
	}
	return r
}

// gatewayChains gives a listener what its TLS and TCP servers ask for.
func (s *scope) gatewayChains(v *mesh.View, n mesh.Node, l *mesh.Listener, binds []bind) {
	var set chainSet
	for _, b := range binds {
		if b.server.TLS == nil || b.server.Protocol != mesh.HTTPS {
			s.gatewayBytes(&set, n, b)
		} else {
			t := s.gatewayTable(n, secureTable(b), []bind{b})
			v.Tables = append(v.Tables, t)
			set.add(&mesh.Chain{
				Name: t.Name, SNI: serverNames(b.server), TransportTLS: true, TLS: b.server.TLS, Table: t.Name,
				Origins: []mesh.Origin{b.server.Origin},
			})
		}
	}
	l.Chains = set.chains
}

// gatewayBytes adds what rules say of a server whose content the gateway does not read: TLS that goes on as it came by the tls
// routes, all else by the tcp routes.
func (s *scope) gatewayBytes(set *chainSet, n mesh.Node, b bind) {
	at := place{gateways: []string{b.name()}, port: b.server.Port}
	for _, r := range s.rules {
		hosts := b.hosts(r)
		if len(hosts) == 0 || !slices.Contains(r.Gateways, b.name()) {
			continue
		}
		if b.server.Passthrough {
			s.tlsChains(set, r, hosts, n, at)
			continue
		}
		var own chainSet
		done := s.tcpChains(&own, r, n, at)
		for _, ch := range own.chains {
			if ch.TLS = b.server.TLS; ch.TLS != nil {
				ch.SNI, ch.TransportTLS = serverNames(b.server), true
			}
			set.add(ch)
		}
		if done {
			return
		}
	}
}

// hosts are those that a server and a rule both name.
func (b bind) hosts(r *mesh.HostRules) []string {
	var out []string
	for _, rh := range r.Hosts {
		for _, sh := range b.server.Hosts {
			if sh.Namespace != "" && sh.Namespace != "*" && sh.Namespace != r.Namespace {
				continue
			}
			if h, ok := mesh.HostIntersection(sh.Host, rh); ok && !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// serverNames are a server's hosts as a client's TLS names them; nil: any, or none.
func serverNames(srv *mesh.Server) []string {
	var out []string
	for _, h := range srv.Hosts {
		if h.Host == "*" {
			return nil
		}
		if !slices.Contains(out, h.Host) {
			out = append(out, h.Host)
		}
	}
	return out
}

// gatewaySecrets adds the Secrets that the gateway's chains and clusters name, from its own namespace and no other.
func (s *scope) gatewaySecrets(v *mesh.View, n mesh.Node) {
	seen := map[string]bool{}
	add := func(sources ...mesh.CertSource) {
		for _, c := range sources {
			if name, ok := strings.CutPrefix(c.Secret, mesh.KubernetesSecret); ok && !seen[name] {
				seen[name] = true
				if served := s.cache.served(name, n.Namespace); served != nil {
					v.Secrets = append(v.Secrets, served)
				}
			}
		}
	}
	for _, l := range v.Listeners {
		for _, ch := range l.Chains {
			if ch.TLS != nil {
				add(append([]mesh.CertSource{ch.TLS.Roots}, ch.TLS.Certificates...)...)
			}
		}
	}
	for _, c := range s.clusters {
		if c.TLS != nil {
			add(c.TLS.Roots, c.TLS.Certificate)
		}
	}
	slices.SortFunc(v.Secrets, func(a, b *mesh.ServedSecret) int { return cmp.Compare(a.Name, b.Name) })
}

// served finds a Secret of a namespace by the name that SDS has for it. Roots are those of a Secret of that whole name, else
// what the certificate's own Secret holds beside it, as in Istio.
func (c *Cache) served(name, namespace string) *mesh.ServedSecret {
	find := func(name string) *mesh.Secret {
		for _, x := range c.world.Secrets {
			if x.Namespace == namespace && x.Name == name {
				return x
			}
		}
		return nil
	}
	own, roots := strings.CutSuffix(name, mesh.RootsSuffix)
	out := &mesh.ServedSecret{Name: mesh.KubernetesSecret + name}
	if !roots {
		x := find(name)
		if x == nil || x.Certificate == nil {
			return nil
		}
		out.Certificate, out.Key, out.Origin = x.Certificate, x.Key, x.Origin
		return out
	}
	x := find(name)
	if x == nil || x.CA == nil {
		x = find(own)
	}
	if x == nil || x.CA == nil {
		return nil
	}
	out.CA, out.CRL, out.Origin = x.CA, x.CRL, x.Origin
	return out
}
