package xdsgen

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// routeMatch translates one bound route's match. A route chosen by the canary policy matches its path and the choice
// only: headers, cookies and query have been judged by the policy already, and the path is what rewrites need.
func routeMatch(r *mesh.BoundRoute) (*routev3.RouteMatch, error) {
	var q match.Request
	if r.Match != nil {
		q = r.Match.Request
	}
	if r.Choice != "" {
		q = match.Request{Path: q.Path, IgnorePathCase: q.IgnorePathCase,
			Headers: []match.Named{{Name: canary.RouteHeader, String: match.String{Exact: &r.Choice}}}}
	}
	out, err := native.Match(q)
	if err != nil {
		return nil, err
	}
	if r.Match != nil {
		out.DynamicMetadata = claimMatchers(r.Match.Claims)
	}
	if r.Connect {
		out.PathSpecifier = &routev3.RouteMatch_ConnectMatcher_{ConnectMatcher: &routev3.RouteMatch_ConnectMatcher{}}
	}
	return out, nil
}
