package istio

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// match checks one HTTPMatchRequest of a VirtualService.
func (v *routeValidator) match(m *networking.HTTPMatchRequest, path string) {
	v.request(m, path)
	own := v.spec.Gateways
	if len(own) == 0 {
		own = []string{"mesh"}
	}
	for i, g := range m.Gateways {
		if !slices.Contains(own, g) {
			v.trap(index(path+".gateways", i), fmt.Sprintf("never matches: %q is not among spec.gateways", g), "add it there")
		}
	}
	if len(m.Gateways) > 0 && (len(m.SourceLabels) > 0 || m.SourceNamespace != "") {
		v.trap(path+".gateways", "sourceLabels and sourceNamespace are not looked at beside gateways", "write two matches")
	}
	v.labels(path+".sourceLabels", m.SourceLabels)
	if catchAll(m) && !v.has(path+".uri") {
		v.trap(path, "an empty match matches every request", "take match away if that is meant")
	}
}

// request checks the conditions that RateLimit shares.
func (v *validator) request(m *networking.HTTPMatchRequest, path string) {
	v.uri(m, path)
	v.value(m.Scheme, path+".scheme")
	v.value(m.Method, path+".method")
	v.value(m.Authority, path+".authority")
	if e := m.Method.GetExact(); e != "" && e != strings.ToUpper(e) {
		v.trap(path+".method.exact", fmt.Sprintf("never matches: methods are upper case, got %q", e), "write "+strings.ToUpper(e))
	}
	for _, name := range sortedKeys(m.Headers) {
		v.header(name, m.Headers[name], join(path+".headers", name))
	}
	for _, name := range sortedKeys(m.WithoutHeaders) {
		p := join(path+".withoutHeaders", name)
		v.header(name, m.WithoutHeaders[name], p)
		if r := m.WithoutHeaders[name].GetRegex(); r == ".*" {
			v.trap(p, "never matches: an absent header counts as empty, and .* matches that too", fmt.Sprintf("write %s: {}", name))
		}
	}
	for _, name := range sortedKeys(m.QueryParams) {
		v.value(m.QueryParams[name], join(path+".queryParams", name))
	}
	if m.Port != 0 {
		v.port(path+".port", m.Port)
	}
}

func (v *validator) uri(m *networking.HTTPMatchRequest, path string) {
	path += ".uri"
	switch t := m.GetUri().GetMatchType().(type) {
	case nil:
		if m.Uri != nil {
			v.trap(path, "a uri without exact, prefix or regex matches everything", "add one, or take uri away")
		}
		if m.IgnoreUriCase {
			v.trap(parentPath(path)+".ignoreUriCase", "has no effect without uri", "take it away")
		}
	case *networking.StringMatch_Exact:
		if t.Exact == "" {
			v.fail(path+".exact", "must not be empty", `write "/"`)
		} else if t.Exact[0] != '/' {
			v.trap(path+".exact", fmt.Sprintf("never matches: a path begins with '/', got %q", t.Exact), "write /"+t.Exact)
		}
	case *networking.StringMatch_Prefix:
		if t.Prefix == "" {
			v.trap(path+".prefix", "an empty prefix matches everything", `write "/" if that is meant`)
		} else if t.Prefix[0] != '/' {
			v.trap(path+".prefix", fmt.Sprintf("never matches: a path begins with '/', got %q", t.Prefix), "write /"+t.Prefix)
		}
	case *networking.StringMatch_Regex:
		v.nonEmptyRegex(path+".regex", t.Regex)
		if m.IgnoreUriCase {
			v.trap(parentPath(path)+".ignoreUriCase", "has no effect on a regex", "begin the regex with (?i)")
		}
	}
}

func (v *validator) nonEmptyRegex(path, r string) {
	if r == "" {
		v.fail(path, "must not be empty", "write .* for anything")
		return
	}
	v.regex(path, r)
}

func (v *validator) header(name string, m *networking.StringMatch, path string) {
	switch {
	case strings.HasPrefix(name, "@request.auth."):
		v.claim(name, m, path)
		return
	case name == "uri" || name == "scheme" || name == "method" || name == "authority":
		v.trap(path, fmt.Sprintf("%q is not looked at among headers", name), "move it up, beside headers")
		return
	case !headerName(strings.TrimPrefix(name, ":")):
		v.fail(path, fmt.Sprintf("%q is not a header's name", name), "")
		return
	}
	if m.GetRegex() == "*" {
		return // Istio: present
	}
	v.value(m, path)
}

// value checks a StringMatch; one without exact, prefix and regex means present.
func (v *validator) value(m *networking.StringMatch, path string) {
	switch t := m.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		if t.Exact == "" {
			v.fail(path+".exact", "must not be empty", "write {} for present")
		}
	case *networking.StringMatch_Prefix:
		if t.Prefix == "" {
			v.fail(path+".prefix", "must not be empty", "write {} for present")
		}
	case *networking.StringMatch_Regex:
		v.nonEmptyRegex(path+".regex", t.Regex)
	}
}

// catchAll says whether a match matches every request of every listener, as Istio's IsCatchAllRoute has it.
func catchAll(m *networking.HTTPMatchRequest) bool {
	if m.Scheme != nil || m.Method != nil || m.Authority != nil || len(m.Headers) > 0 || len(m.WithoutHeaders) > 0 || len(m.QueryParams) > 0 {
		return false
	}
	if m.Port != 0 || len(m.SourceLabels) > 0 || m.SourceNamespace != "" || len(m.Gateways) > 0 {
		return false
	}
	return anyURI(m.Uri)
}

func anyURI(u *networking.StringMatch) bool {
	switch t := u.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return false
	case *networking.StringMatch_Prefix:
		return t.Prefix == "/" || t.Prefix == ""
	case *networking.StringMatch_Regex:
		return t.Regex == ".*" || t.Regex == "/.*"
	}
	return true
}
