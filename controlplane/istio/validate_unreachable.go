package istio

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
)

// unreachable reports rules, and single matches of rules, that an earlier rule has already taken every request from.
func (v *routeValidator) unreachable() {
	type taken struct {
		match *networking.HTTPMatchRequest // nil: everything
		path  string
	}
	var before []taken
	find := func(m *networking.HTTPMatchRequest) (string, bool) {
		for _, t := range before {
			if t.match == nil || covers(t.match, m) {
				return t.path, true
			}
		}
		return "", false
	}
	for i, r := range v.spec.Http {
		path := index("spec.http", i)
		if len(r.Match) == 0 {
			if by, ok := find(&networking.HTTPMatchRequest{}); ok {
				v.unreached(CodeUnreachable, Warning, path, "no request reaches this rule", by)
			}
			before = append(before, taken{nil, path})
			continue
		}
		var dead []string
		var by string
		for j, m := range r.Match {
			p := index(path+".match", j)
			if first, ok := find(m); ok {
				dead, by = append(dead, p), first
			}
			before = append(before, taken{m, p})
		}
		if len(dead) == len(r.Match) {
			v.unreached(CodeUnreachable, Warning, path, "no request reaches this rule", by)
			continue
		}
		for _, p := range dead {
			v.unreached(CodeIneffective, Info, p, "this match adds nothing", by)
		}
	}
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

// staticCovers compares what is decided when compiling.
func staticCovers(a, b *networking.HTTPMatchRequest) bool {
	if a.Port != 0 && a.Port != b.Port || a.SourceNamespace != "" && a.SourceNamespace != b.SourceNamespace {
		return false
	}
	for k, x := range a.SourceLabels {
		if b.SourceLabels[k] != x {
			return false
		}
	}
	// Beside gateways the source is not looked at, so only the same list is safe to compare.
	return len(a.Gateways) == 0 && len(b.Gateways) == 0 || slices.Equal(a.Gateways, b.Gateways) && maps.Equal(a.SourceLabels, b.SourceLabels) ||
		len(a.Gateways) == 0 && len(a.SourceLabels) == 0 && a.SourceNamespace == ""
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
