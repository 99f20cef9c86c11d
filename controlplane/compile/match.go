package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/match"
	networking "istio.io/api/networking/v1alpha3"
)

// matchRule lowers one HTTPMatchRequest; nil if it is none that the filters can evaluate, which a diagnostic then says.
func (c *compiler) matchRule(m *istio.Meta, path string, in *networking.HTTPMatchRequest) *mesh.Match {
	out := &mesh.Match{
		Request:         matchRequest(in),
		Port:            in.GetPort(),
		SourceLabels:    in.GetSourceLabels(),
		SourceNamespace: in.GetSourceNamespace(),
		StatPrefix:      in.GetStatPrefix(),
		Claims:          claimTerms(in),
		Origin:          origin(m, path),
	}
	for _, g := range in.GetGateways() {
		out.Gateways = append(out.Gateways, gatewayName(g, m.Namespace))
	}
	if len(out.SourceLabels) == 0 {
		out.SourceLabels = nil
	}
	if _, err := match.Compile(out.Request); err != nil {
		c.report(m, path, istio.Error, istio.CodeSchema, fmt.Sprintf("the match is left out: %v", err), "")
		return nil
	}
	return out
}

// matchRequest lowers what is decided per request. Maps become lists sorted by name.
func matchRequest(in *networking.HTTPMatchRequest) match.Request {
	out := match.Request{
		Name:           in.GetName(),
		Path:           stringMatch(in.GetUri()),
		Method:         stringMatch(in.GetMethod()),
		Scheme:         stringMatch(in.GetScheme()),
		Authority:      stringMatch(in.GetAuthority()),
		IgnorePathCase: in.GetIgnoreUriCase(),
	}
	if p := out.Path; p != nil && p.Prefix != nil && *p.Prefix == "" {
		out.Path = nil // an empty prefix matches everything
	}
	for _, k := range slices.Sorted(maps.Keys(in.GetHeaders())) {
		if !pseudoName(k) && !istio.IsClaim(k) {
			out.Headers = append(out.Headers, named(strings.ToLower(k), in.GetHeaders()[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(in.GetWithoutHeaders())) {
		if istio.IsClaim(k) {
			continue
		}
		n := named(strings.ToLower(k), in.GetWithoutHeaders()[k])
		if n.Present {
			n.Present, n.Absent = false, true
		} else {
			n.Invert, n.AbsentAsEmpty = true, true
		}
		out.Headers = append(out.Headers, n)
	}
	slices.SortStableFunc(out.Headers, func(a, b match.Named) int { return cmp.Compare(a.Name, b.Name) })
	for _, k := range slices.Sorted(maps.Keys(in.GetQueryParams())) {
		out.Query = append(out.Query, named(k, in.GetQueryParams()[k]))
	}
	return out
}

// pseudoName: Istio ignores these keys of headers, which have fields of their own.
func pseudoName(k string) bool {
	return k == "uri" || k == "scheme" || k == "method" || k == "authority"
}

// named reads a condition on a value that may be absent: an empty one and the regex "*" ask for presence.
func named(name string, in *networking.StringMatch) match.Named {
	s := stringMatch(in)
	if s == nil || s.Regex != nil && *s.Regex == "*" {
		s = &match.String{Present: true}
	}
	return match.Named{Name: name, String: *s}
}

// stringMatch returns nil if nothing is asked.
func stringMatch(in *networking.StringMatch) *match.String {
	switch t := in.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return &match.String{Exact: &t.Exact}
	case *networking.StringMatch_Prefix:
		return &match.String{Prefix: &t.Prefix}
	case *networking.StringMatch_Regex:
		return &match.String{Regex: &t.Regex}
	}
	return nil
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
