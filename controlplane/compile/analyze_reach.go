package compile

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// analyzeReach finds routes and matches that can never be first: an earlier one takes every request that they match.
func (c *compiler) analyzeReach(r *rule) {
	type place struct {
		m  *mesh.Match
		at string
	}
	var earlier []place
	for i, route := range r.Routes {
		matches := route.Matches
		if len(matches) == 0 {
			matches = []*mesh.Match{{}}
		}
		var by []place // who takes each match's requests
		for j, m := range matches {
			at := r.at[i]
			if len(route.Matches) > 0 {
				at = index(at+".match", j)
			}
			for _, e := range earlier {
				if covers(e.m, m) {
					by = append(by, place{m, at + "|" + e.at})
					break
				}
			}
			earlier = append(earlier, place{m, at})
		}
		c.unreachable(r, i, len(matches), len(by), func(k int) (at, taker string) {
			at, taker, _ = strings.Cut(by[k].at, "|")
			return at, taker
		})
	}
}

// unreachable says that a whole route, or some of its matches, are shadowed.
func (c *compiler) unreachable(r *rule, i, matches, shadowed int, by func(int) (at, taker string)) {
	m := &r.object.Meta
	if shadowed == matches {
		_, taker := by(0)
		c.report(m, r.at[i], istio.Warning, codeUnreachable,
			fmt.Sprintf("the route is never reached: %s (%s) takes every request first", taker, m.At(taker)), "put the narrower route first")
		return
	}
	for k := range shadowed {
		at, taker := by(k)
		c.report(m, at, istio.Info, codeIneffective,
			fmt.Sprintf("the match has no effect: %s (%s) takes every request first", taker, m.At(taker)), "")
	}
}

// covers tells, for certain, that every request that b matches is matched by a. It may say no where it is not sure.
func covers(a, b *mesh.Match) bool {
	if a.Port != 0 && a.Port != b.Port || a.SourceNamespace != "" && a.SourceNamespace != b.SourceNamespace {
		return false
	}
	if len(a.SourceLabels) > 0 && !mesh.Selects(a.SourceLabels, b.SourceLabels) {
		return false
	}
	if len(a.Gateways) > 0 && !reflect.DeepEqual(a.Gateways, b.Gateways) || len(a.Gateways) == 0 && len(b.Gateways) > 0 && len(a.SourceLabels) > 0 {
		return false
	}
	x, y := a.Request, b.Request
	return pathCovers(x, y) && stringCovers(x.Method, y.Method) && stringCovers(x.Scheme, y.Scheme) &&
		stringCovers(x.Authority, y.Authority) && namedCover(x.Headers, y.Headers) && namedCover(x.Query, y.Query)
}

func pathCovers(x, y match.Request) bool {
	p := x.Path
	if p == nil || p.Prefix != nil && *p.Prefix == "/" || p.Regex != nil && *p.Regex == ".*" {
		return true
	}
	if y.Path == nil || y.IgnorePathCase && !x.IgnorePathCase {
		return false
	}
	return stringCovers(p, y.Path)
}

// stringCovers: equal conditions, and prefixes of what is asked exactly or by a longer prefix.
func stringCovers(a, b *match.String) bool {
	if a == nil {
		return true
	}
	if b == nil {
		return false
	}
	if a.Prefix != nil && !a.Invert && !b.Invert {
		switch {
		case b.Exact != nil:
			return strings.HasPrefix(*b.Exact, *a.Prefix)
		case b.Prefix != nil:
			return strings.HasPrefix(*b.Prefix, *a.Prefix)
		}
	}
	return reflect.DeepEqual(a, b)
}

// namedCover: each condition of a is one of b's, or a weaker form of it.
func namedCover(a, b []match.Named) bool {
	for _, x := range a {
		found := false
		for _, y := range b {
			positive := !y.Invert && !y.Absent
			if x.Name == y.Name && (stringCovers(&x.String, &y.String) || x.Present && !x.Invert && positive) {
				found = true
			}
		}
		if !found {
			return false
		}
	}
	return true
}
