package conformance

import (
	"fmt"

	"github.com/mizzen-mesh/mizzen/filters/match"
)

// match translates a Request to an Envoy route's match, below the part's prefix.
func (p *part) match(r match.Request) (obj, error) {
	out := obj{"prefix": p.prefix}
	if r.Path != nil {
		if p.prefix != "/" {
			return nil, fmt.Errorf("an Envoy route matches one path, not a prefix and a path")
		}
		delete(out, "prefix")
		switch s := r.Path; {
		case s.Invert || s.Present || s.Absent || s.AbsentAsEmpty:
			return nil, fmt.Errorf("an Envoy route's path is not inverted")
		case s.Exact != nil:
			out["path"] = *s.Exact
		case s.Prefix != nil:
			out["prefix"] = *s.Prefix
		case s.Suffix != nil:
			return nil, fmt.Errorf("an Envoy route's path has no suffix match")
		default:
			out["safe_regex"] = obj{"regex": *s.Regex}
		}
		if r.IgnorePathCase {
			out["case_sensitive"] = false
		}
	}
	var headers, query, cookies list
	for _, h := range []struct {
		name  string
		value *match.String
	}{{":method", r.Method}, {":scheme", r.Scheme}, {":authority", r.Authority}} {
		if h.value != nil {
			headers = append(headers, header(match.Named{Name: h.name, String: *h.value}))
		}
	}
	for _, h := range r.Headers {
		headers = append(headers, header(h))
	}
	for _, q := range r.Query {
		v, err := value(q.String)
		if err != nil || q.Invert {
			return nil, fmt.Errorf("query: %w", orInverted(err))
		}
		v["name"] = q.Name
		query = append(query, v)
	}
	for _, c := range r.Cookies {
		s, err := value(c.String)
		if err != nil {
			return nil, err
		}
		if c.Present {
			s = obj{"string_match": obj{"safe_regex": obj{"regex": ".*"}}}
		}
		s["name"], s["invert_match"] = c.Name, c.Invert
		cookies = append(cookies, s)
	}
	for name, l := range map[string]list{"headers": headers, "query_parameters": query, "cookies": cookies} {
		if l != nil {
			out[name] = l
		}
	}
	return out, nil
}

func orInverted(err error) error {
	if err == nil {
		err = fmt.Errorf("an Envoy route's query match is not inverted")
	}
	return err
}

func header(h match.Named) obj {
	var out obj
	switch {
	case h.Present:
		out = obj{"present_match": true}
	case h.Absent:
		out = obj{"present_match": false}
	default:
		out, _ = value(h.String) // the errors are the cases above
	}
	out["name"], out["invert_match"], out["treat_missing_header_as_empty"] = h.Name, h.Invert, h.AbsentAsEmpty
	return out
}

// value translates a condition without its inversion.
func value(s match.String) (obj, error) {
	m := obj{}
	switch {
	case s.Exact != nil:
		m["exact"] = *s.Exact
	case s.Prefix != nil:
		m["prefix"] = *s.Prefix
	case s.Suffix != nil:
		m["suffix"] = *s.Suffix
	case s.Regex != nil:
		m["safe_regex"] = obj{"regex": *s.Regex}
	case s.Present:
		return obj{"present_match": true}, nil
	default:
		return nil, fmt.Errorf("an absent cookie or query parameter is an inverted match in Envoy")
	}
	return obj{"string_match": m}, nil
}
