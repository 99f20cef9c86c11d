package istio

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
)

// unreachable reports rules, and single matches of rules, that an earlier rule has already taken everything from.
func (v *routeValidator) unreachable() {
	http := make([][]*networking.HTTPMatchRequest, len(v.spec.Http))
	for i, r := range v.spec.Http {
		http[i] = r.Match
	}
	shadowed(v, "spec.http", http, &networking.HTTPMatchRequest{}, covers)
	tls := make([][]*networking.TLSMatchAttributes, len(v.spec.Tls))
	for i, r := range v.spec.Tls {
		tls[i] = r.Match
	}
	shadowed(v, "spec.tls", tls, &networking.TLSMatchAttributes{}, tlsCovers)
	tcp := make([][]*networking.L4MatchAttributes, len(v.spec.Tcp))
	for i, r := range v.spec.Tcp {
		tcp[i] = r.Match
	}
	shadowed(v, "spec.tcp", tcp, &networking.L4MatchAttributes{}, tcpCovers)
}

// shadowed looks at the rules of one protocol, each with its matches, in order. all is the match of a rule without any.
func shadowed[M any](v *routeValidator, field string, rules [][]M, all M, covers func(a, b M) bool) {
	type taken struct {
		match M
		path  string
	}
	var before []taken
	find := func(m M) (string, bool) {
		for _, t := range before {
			if covers(t.match, m) {
				return t.path, true
			}
		}
		return "", false
	}
	for i, matches := range rules {
		path := index(field, i)
		if len(matches) == 0 {
			if by, ok := find(all); ok {
				v.unreached(CodeUnreachable, Warning, path, "no "+noun(field)+" reaches this rule", by)
			}
			before = append(before, taken{all, path})
			continue
		}
		var dead []string
		var by string
		for j, m := range matches {
			p := index(path+".match", j)
			if first, ok := find(m); ok {
				dead, by = append(dead, p), first
			}
			before = append(before, taken{m, p})
		}
		if len(dead) == len(matches) {
			v.unreached(CodeUnreachable, Warning, path, "no "+noun(field)+" reaches this rule", by)
			continue
		}
		for _, p := range dead {
			v.unreached(CodeIneffective, Info, p, "this match adds nothing", by)
		}
	}
}

// noun is what the rules of a field are about.
func noun(field string) string {
	if field == "spec.http" {
		return "request"
	}
	return "connection"
}

func (v *routeValidator) unreached(code string, severity Severity, path, message, by string) {
	v.add(code, severity, path, fmt.Sprintf("%s: %s (line %d) takes them all", message, by, v.meta.At(by).Line), "put it first, or make the earlier one narrower")
}

// covers says whether every request that b matches is matched by a. It may miss some (two regular expressions), never invent one.
func covers(a, b *networking.HTTPMatchRequest) bool {
	if !uriCovers(a, b) || !staticCovers(a, b) {
		return false
	}
	one := func(x, y *networking.StringMatch) bool { return x == nil || y != nil && proto.Equal(x, y) }
	if !one(a.Scheme, b.Scheme) || !one(a.Method, b.Method) || !one(a.Authority, b.Authority) {
		return false
	}
	all := func(x, y map[string]*networking.StringMatch) bool {
		for k, m := range x {
			if n, ok := y[k]; !ok || !proto.Equal(m, n) {
				return false
			}
		}
		return true
	}
	return all(a.Headers, b.Headers) && all(a.WithoutHeaders, b.WithoutHeaders) && all(a.QueryParams, b.QueryParams)
}

// sourced is the part of a match that is decided when compiling.
type sourced interface {
	GetPort() uint32
	GetSourceLabels() map[string]string
	GetSourceNamespace() string
	GetGateways() []string
}

func staticCovers(a, b sourced) bool {
	if a.GetPort() != 0 && a.GetPort() != b.GetPort() || a.GetSourceNamespace() != "" && a.GetSourceNamespace() != b.GetSourceNamespace() {
		return false
	}
	for k, x := range a.GetSourceLabels() {
		if b.GetSourceLabels()[k] != x {
			return false
		}
	}
	// Beside gateways the source is not looked at, so only the same list is safe to compare.
	return len(a.GetGateways()) == 0 && len(b.GetGateways()) == 0 ||
		slices.Equal(a.GetGateways(), b.GetGateways()) && maps.Equal(a.GetSourceLabels(), b.GetSourceLabels()) ||
		len(a.GetGateways()) == 0 && len(a.GetSourceLabels()) == 0 && a.GetSourceNamespace() == ""
}

func tcpCovers(a, b *networking.L4MatchAttributes) bool {
	return staticCovers(a, b) && subnetsCover(a.DestinationSubnets, b.DestinationSubnets)
}

func tlsCovers(a, b *networking.TLSMatchAttributes) bool {
	return staticCovers(a, b) && subnetsCover(a.DestinationSubnets, b.DestinationSubnets) &&
		(len(a.SniHosts) == 0 || len(b.SniHosts) > 0 && !slices.ContainsFunc(b.SniHosts, func(name string) bool {
			return !slices.ContainsFunc(a.SniHosts, func(wider string) bool { return sniWithin(strings.ToLower(wider), strings.ToLower(name)) })
		}))
}

// subnetsCover tells whether each of b's ranges lies in one of a's; no range at all stands for every address.
func subnetsCover(a, b []string) bool {
	if len(a) == 0 {
		return true
	}
	return len(b) > 0 && !slices.ContainsFunc(b, func(s string) bool {
		inner, ok := addressRange(s)
		return !ok || !slices.ContainsFunc(a, func(t string) bool {
			outer, ok := addressRange(t)
			return ok && outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
		})
	})
}

// addressRange reads a range, or an address, which is one of its own.
func addressRange(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

func uriCovers(a, b *networking.HTTPMatchRequest) bool {
	if anyURI(a.Uri) {
		return true
	}
	if proto.Equal(a.Uri, b.Uri) && a.IgnoreUriCase == b.IgnoreUriCase {
		return true
	}
	prefix, ok := a.Uri.GetMatchType().(*networking.StringMatch_Prefix)
	if !ok || a.IgnoreUriCase != b.IgnoreUriCase {
		return false
	}
	within := func(s string) bool {
		if a.IgnoreUriCase {
			return strings.HasPrefix(strings.ToLower(s), strings.ToLower(prefix.Prefix))
		}
		return strings.HasPrefix(s, prefix.Prefix)
	}
	switch t := b.Uri.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return within(t.Exact)
	case *networking.StringMatch_Prefix:
		return within(t.Prefix)
	}
	return false
}
