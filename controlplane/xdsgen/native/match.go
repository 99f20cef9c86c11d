// Package native says in Envoy's own terms what Mizzen's policies say: route matches, the fault filter, the local rate limit
// and hash policies. It is what a proxy without Mizzen's filter is given, and what the conformance corpus takes for its judge.
// What Envoy cannot say is an error that names it; nothing is left out in silence.
package native

import (
	"fmt"
	"regexp"
	"sort"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/filters/match"
)

// Match translates a request's conditions to an Envoy route's match.
func Match(q match.Request) (*routev3.RouteMatch, error) {
	out := &routev3.RouteMatch{}
	if err := Path(out, q.Path, q.IgnorePathCase); err != nil {
		return nil, err
	}
	var err error
	if out.Headers, err = headerMatchers(&q); err != nil {
		return nil, err
	}
	if out.Cookies, err = cookieMatchers(q.Cookies); err != nil {
		return nil, err
	}
	if out.QueryParameters, err = queryMatchers(q.Query); err != nil {
		return nil, err
	}
	return out, nil
}

// Path sets the path specifier; nil matches every path. Prefixes are plain string prefixes, as Istio's are.
func Path(out *routev3.RouteMatch, p *match.String, ignoreCase bool) error {
	out.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	if p == nil || p.Present {
		return nil
	}
	switch {
	case p.Invert || p.Absent:
		return fmt.Errorf("match path: inverted matches of a path have no counterpart in Envoy's routes")
	case p.Exact != nil:
		out.PathSpecifier = &routev3.RouteMatch_Path{Path: *p.Exact}
	case p.Prefix != nil:
		out.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: *p.Prefix}
	case p.Regex != nil:
		out.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: Regex(*p.Regex)}
	case p.Suffix != nil:
		out.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: Regex(".*" + regexp.QuoteMeta(*p.Suffix))}
	}
	if ignoreCase && p.Regex == nil {
		out.CaseSensitive = wrapperspb.Bool(false)
	}
	return nil
}

// pathHeader is a condition on the path as one on the header :path, where the query follows it.
func pathHeader(p *match.String, ignoreCase bool) (*routev3.HeaderMatcher, error) {
	m := &routev3.RouteMatch{}
	if err := Path(m, p, false); err != nil {
		return nil, err
	}
	var expr string
	switch s := m.PathSpecifier.(type) {
	case *routev3.RouteMatch_Path:
		expr = regexp.QuoteMeta(s.Path) + `(\?.*)?`
	case *routev3.RouteMatch_Prefix:
		expr = regexp.QuoteMeta(s.Prefix) + `.*`
	case *routev3.RouteMatch_SafeRegex:
		expr = `(?:` + s.SafeRegex.Regex + `)(\?.*)?`
	}
	if ignoreCase && p.Regex == nil {
		expr = `(?i)` + expr
	}
	return Header(":path", match.String{Regex: &expr})
}

// Regex is RE2 over the whole value, which is what Envoy's safe_regex means too.
func Regex(r string) *matcherv3.RegexMatcher { return &matcherv3.RegexMatcher{Regex: r} }

// headerMatchers translates everything that is a header to Envoy, sorted by name as Istio sorts them.
func headerMatchers(q *match.Request) ([]*routev3.HeaderMatcher, error) {
	named := append([]match.Named(nil), q.Headers...)
	sort.SliceStable(named, func(i, j int) bool { return named[i].Name < named[j].Name })
	for _, p := range []struct {
		name string
		s    *match.String
	}{{":method", q.Method}, {":authority", q.Authority}, {":scheme", q.Scheme}} {
		if p.s != nil {
			named = append(named, match.Named{Name: p.name, String: *p.s})
		}
	}
	var out []*routev3.HeaderMatcher
	for _, n := range named {
		h, err := Header(n.Name, n.String)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

// Header translates one condition. Envoy cannot combine presence with treat_missing_header_as_empty, and needs
// not: presence has no value.
func Header(name string, s match.String) (*routev3.HeaderMatcher, error) {
	out := &routev3.HeaderMatcher{Name: name, InvertMatch: s.Invert}
	if s.Present || s.Absent {
		out.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}
		out.InvertMatch = s.Invert != s.Absent
		return out, nil
	}
	m, err := String(s)
	if err != nil {
		return nil, fmt.Errorf("match header %s: %w", name, err)
	}
	out.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: m}
	out.TreatMissingHeaderAsEmpty = s.AbsentAsEmpty
	return out, nil
}

// cookieMatchers translates conditions on cookies. Envoy has no presence match for them; an inverted match of any value
// holds where the cookie is absent.
func cookieMatchers(in []match.Named) ([]*routev3.CookieMatcher, error) {
	var out []*routev3.CookieMatcher
	for _, n := range in {
		s := n.String
		if s.Present || s.Absent {
			any := ".*"
			s = match.String{Regex: &any, Invert: s.Invert != s.Absent}
		}
		m, err := String(s)
		if err != nil {
			return nil, fmt.Errorf("match cookie %s: %w", n.Name, err)
		}
		out = append(out, &routev3.CookieMatcher{Name: n.Name, StringMatch: m, InvertMatch: s.Invert})
	}
	return out, nil
}

func queryMatchers(in []match.Named) ([]*routev3.QueryParameterMatcher, error) {
	named := append([]match.Named(nil), in...)
	sort.SliceStable(named, func(i, j int) bool { return named[i].Name < named[j].Name })
	var out []*routev3.QueryParameterMatcher
	for _, n := range named {
		m := &routev3.QueryParameterMatcher{Name: n.Name}
		switch {
		case n.Invert:
			return nil, fmt.Errorf("match query parameter %s: inverted matches have no counterpart in Envoy", n.Name)
		case n.Present || n.Absent:
			m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_PresentMatch{PresentMatch: n.Present}
		default:
			s, err := String(n.String)
			if err != nil {
				return nil, fmt.Errorf("match query parameter %s: %w", n.Name, err)
			}
			m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_StringMatch{StringMatch: s}
		}
		out = append(out, m)
	}
	return out, nil
}

// String translates a condition on a value. Envoy refuses empty prefixes and suffixes; they match everything.
func String(s match.String) (*matcherv3.StringMatcher, error) {
	out := &matcherv3.StringMatcher{}
	switch {
	case s.Exact != nil:
		out.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: *s.Exact}
	case s.Prefix != nil && *s.Prefix != "":
		out.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: *s.Prefix}
	case s.Suffix != nil && *s.Suffix != "":
		out.MatchPattern = &matcherv3.StringMatcher_Suffix{Suffix: *s.Suffix}
	case s.Regex != nil:
		out.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: Regex(*s.Regex)}
	case s.Prefix != nil || s.Suffix != nil:
		out.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: Regex(".*")}
	default:
		return nil, fmt.Errorf("empty condition")
	}
	return out, nil
}
