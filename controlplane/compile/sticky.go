package compile

import (
	"fmt"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// Annotations of a VirtualService that Istio's API has no field for.
const (
	// StickyAnnotation makes its weighted routes sticky: see ParseSticky.
	StickyAnnotation = "mizzen.dev/sticky"
	// DecisionAnnotation names a response header that tells which side was taken.
	DecisionAnnotation = "mizzen.dev/decision-header"
)

// ParseSticky reads and validates "header=x-user", "cookie=name", "cookie=name;ttl=1h;path=/" (a cookie with ttl is set when it is
// absent; ttl=0s is a session cookie), "source-address" or "trace-id".
func ParseSticky(v string) (*canary.Sticky, error) {
	s, err := parseSticky(v)
	if err != nil {
		return nil, err
	}
	if err := (&canary.Config{Sticky: s}).Validate(); err != nil {
		return nil, fmt.Errorf("%q: %w", v, err)
	}
	return s, nil
}

func parseSticky(v string) (*canary.Sticky, error) {
	parts := strings.Split(v, ";")
	kind, arg, has := strings.Cut(strings.TrimSpace(parts[0]), "=")
	s := &canary.Sticky{}
	switch {
	case kind == "header" && headerName(arg):
		s.Key = match.Key{Header: strings.ToLower(arg)}
	case kind == "cookie" && headerName(arg):
		s.Key = match.Key{Cookie: arg}
		return s, stickyCookie(s, parts[1:])
	case kind == "source-address" && !has:
		s.Key = match.Key{SourceAddress: true}
	case kind == "trace-id" && !has:
		s.Key = match.Key{TraceID: true}
	default:
		return nil, fmt.Errorf("%q is no stickiness", v)
	}
	if len(parts) > 1 {
		return nil, fmt.Errorf("%q: only a cookie takes attributes", v)
	}
	return s, nil
}

func stickyCookie(s *canary.Sticky, attributes []string) error {
	if len(attributes) == 0 {
		return nil
	}
	ck, ttl := &canary.Cookie{}, false
	for _, a := range attributes {
		k, v, _ := strings.Cut(strings.TrimSpace(a), "=")
		switch strings.ToLower(k) {
		case "ttl":
			d, err := time.ParseDuration(v)
			if err != nil || d < 0 {
				return fmt.Errorf("cookie ttl %q is no duration", v)
			}
			ck.TTL, ttl = filter.Duration(d), true
		case "path":
			ck.Path = v
		case "domain":
			ck.Domain = v
		case "samesite":
			ck.SameSite = v
		case "secure":
			ck.Secure = true
		case "httponly":
			ck.HTTPOnly = true
		default:
			return fmt.Errorf("cookie attribute %q is unknown", k)
		}
	}
	if !ttl {
		return fmt.Errorf("cookie attributes need a ttl: without one the cookie is only read, never set")
	}
	s.SetCookie = ck
	return nil
}

// headerName tells whether v is an HTTP token, which header and cookie names are.
func headerName(v string) bool {
	for _, r := range v {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) {
			return false
		}
	}
	return v != ""
}
