package compile

import (
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
)

func (c *compiler) tokenPolicy(o *istio.Object[*security.RequestAuthentication]) *mesh.TokenPolicy {
	b, ok := c.bearing(&o.Meta, o.Spec.GetSelector(), o.Spec.GetTargetRef(), o.Spec.GetTargetRefs())
	if !ok {
		return nil
	}
	t := &mesh.TokenPolicy{Bearing: b}
	for i, r := range o.Spec.GetJwtRules() {
		rule := tokenRule(r)
		rule.Origin = origin(&o.Meta, index("spec.jwtRules", i))
		c.keysOf(rule)
		t.Rules = append(t.Rules, rule)
	}
	return t
}

func tokenRule(in *security.JWTRule) *mesh.TokenRule {
	r := &mesh.TokenRule{
		Issuer: in.GetIssuer(), Audiences: in.GetAudiences(), Keys: in.GetJwks(), KeysURI: in.GetJwksUri(),
		Timeout: duration(in.GetTimeout()), FromParams: in.GetFromParams(), FromCookies: in.GetFromCookies(),
		PayloadHeader: in.GetOutputPayloadToHeader(), Forward: in.GetForwardOriginalToken(), SplitClaims: in.GetSpaceDelimitedClaims(),
	}
	for _, h := range in.GetFromHeaders() {
		r.FromHeaders = append(r.FromHeaders, mesh.TokenHeader{Name: h.GetName(), Prefix: h.GetPrefix()})
	}
	for _, h := range in.GetOutputClaimToHeaders() {
		r.ClaimHeaders = append(r.ClaimHeaders, mesh.ClaimHeader{Header: h.GetHeader(), Claim: h.GetClaim()})
	}
	return r
}

// keysOf finds out what leads to a key set that must be fetched: the cluster of a service of the mesh, if it has the URL's host and
// port, else one of its own.
func (c *compiler) keysOf(r *mesh.TokenRule) {
	u, err := url.Parse(r.KeysURI)
	if r.KeysURI == "" || err != nil {
		return
	}
	r.KeysTLS = u.Scheme == "https"
	r.KeysHost, r.KeysPort = u.Hostname(), 80
	if r.KeysTLS {
		r.KeysPort = 443
	}
	if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		r.KeysPort = uint32(p)
	}
	suffix := c.world.Settings.DomainSuffix
	for _, host := range []string{r.KeysHost, r.KeysHost + "." + suffix, r.KeysHost + ".svc." + suffix} {
		if slices.ContainsFunc(c.byHost[host], func(s *mesh.Service) bool { return s.PortByNumber(r.KeysPort) != nil }) {
			r.KeysHost = host
			r.KeysCluster = mesh.OutboundCluster(r.KeysPort, "", host)
			if r.KeysTLS {
				r.KeysCluster = mesh.KeysCluster(host, r.KeysPort)
			}
			return
		}
	}
	r.External, r.KeysCluster = true, mesh.KeysCluster(r.KeysHost, r.KeysPort)
}

// keyHosts are the services of the mesh that key sets are fetched from through their own clusters.
func (c *compiler) keyHosts(in []*mesh.TokenPolicy) []string {
	var out []string
	for _, t := range in {
		for _, r := range t.Rules {
			if r.KeysURI != "" && !r.External {
				out = append(out, r.KeysHost)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// claimTerms lowers the claims among the headers of a match.
func claimTerms(in *networking.HTTPMatchRequest) []*mesh.AuthTerm {
	var out []*mesh.AuthTerm
	for _, k := range slices.Sorted(maps.Keys(in.GetHeaders())) {
		if istio.IsClaim(k) {
			out = append(out, &mesh.AuthTerm{Attribute: mesh.AuthClaim, Path: istio.ClaimPath(k), Values: claimValue(in.GetHeaders()[k])})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(in.GetWithoutHeaders())) {
		if istio.IsClaim(k) {
			out = append(out, &mesh.AuthTerm{Attribute: mesh.AuthClaim, Path: istio.ClaimPath(k), Not: claimValue(in.GetWithoutHeaders()[k])})
		}
	}
	return out
}

func claimValue(in *networking.StringMatch) []mesh.AuthValue {
	switch s := named("", in).String; {
	case s.Exact != nil:
		return exact(*s.Exact)
	case s.Prefix != nil && *s.Prefix != "":
		return []mesh.AuthValue{{Kind: mesh.ValuePrefix, Text: *s.Prefix}}
	case s.Regex != nil:
		return []mesh.AuthValue{{Kind: mesh.ValueRegex, Text: *s.Regex}}
	}
	return []mesh.AuthValue{{Kind: mesh.ValuePresent}}
}
