package match

import (
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// trimQuery cuts the query string and a fragment off a path.
func trimQuery(path string) string {
	for i := range len(path) {
		if path[i] == '?' || path[i] == '#' {
			return path[:i]
		}
	}
	return path
}

// QueryParameter returns the first value of a query parameter of a path. Names and values are compared as they were
// sent, without percent decoding, and a parameter without "=" has the value "": Envoy's route matching does the same.
func QueryParameter(path, name string) (value string, ok bool) {
	_, rest, found := strings.Cut(path, "?")
	for found {
		var part string
		part, rest, found = strings.Cut(rest, "&")
		k, v, _ := strings.Cut(part, "=")
		if k == name && part != "" {
			return v, true
		}
	}
	return "", false
}

// Cookie returns the first cookie called name (RFC 6265, section 4.2.1) of the request headers h, without the quotes
// around its value if there are any. Names are case sensitive.
func Cookie(h *filter.Headers, name string) (value string, ok bool) {
	for _, e := range h.All() {
		if e.Name != "cookie" {
			continue
		}
		if v, ok := cookieIn(e.Value, name); ok {
			return v, true
		}
	}
	return "", false
}

func cookieIn(header, name string) (string, bool) {
	for header != "" {
		var pair string
		pair, header, _ = strings.Cut(header, ";")
		k, v, found := strings.Cut(pair, "=")
		if !found || strings.Trim(k, " \t") != name {
			continue
		}
		v = strings.Trim(v, " \t")
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			v = v[1 : len(v)-1]
		}
		return v, true
	}
	return "", false
}
