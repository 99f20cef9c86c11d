package istio

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

func validateRateLimit(o *Object[*RateLimit]) Diagnostics {
	v := &validator{meta: &o.Meta}
	s := o.Spec
	if s.Selector != nil {
		v.labels("spec.selector.matchLabels", s.Selector.MatchLabels)
		if len(s.TargetRefs) > 0 {
			v.fail("spec.targetRefs", "selector and targetRefs exclude each other", "keep one")
		}
	}
	for i, t := range s.TargetRefs {
		v.targetRef(t, index("spec.targetRefs", i))
	}
	if len(s.Limits) == 0 {
		v.fail("spec.limits", "limits is required", "add limits: [{requests: 10, per: minute}]")
	}
	names := map[string]bool{}
	for i := range s.Limits {
		path := index("spec.limits", i)
		v.limit(&s.Limits[i], path)
		if n := s.Limits[i].Name; n != "" {
			if names[n] {
				v.fail(path+".name", fmt.Sprintf("limit %q stands twice", n), "")
			}
			names[n] = true
		}
	}
	return v.diags
}

// targetGroup is the group of a kind that a RateLimit may target; false for other kinds.
func targetGroup(kind string) (string, bool) {
	switch kind {
	case "Service":
		return "", true
	case "ServiceEntry", "Gateway":
		return networkingGroup, true
	}
	return "", false
}

func (v *validator) targetRef(t TargetRef, path string) {
	v.required(path+".name", t.Name)
	group, ok := targetGroup(t.Kind)
	switch {
	case !ok:
		fix := "write Service, ServiceEntry or Gateway"
		if near := nearest.Of(t.Kind, []string{"Service", "ServiceEntry", "Gateway"}); near != "" {
			fix = "did you mean " + near + "?"
		}
		v.fail(path+".kind", fmt.Sprintf("cannot target the kind %q", t.Kind), fix)
	case t.Group != "" && t.Group != group && !(group == "" && t.Group == "core"):
		v.fail(path+".group", fmt.Sprintf("%s is not in group %q", t.Kind, t.Group), fmt.Sprintf("write %q", group))
	}
}

func (v *validator) limit(l *RateLimitRule, path string) {
	for i, m := range l.Match {
		v.request(m, index(path+".match", i)) // compile says which conditions do not bear on a limit
	}
	for i, k := range l.Key {
		v.key(k, index(path+".key", i))
	}
	if l.Concurrency > 0 {
		v.concurrency(l, path)
	} else {
		v.rate(l.Requests, l.Per, path)
	}
	for i, o := range l.Overrides {
		at := index(path+".overrides", i)
		v.rate(o.Requests, o.Per, at)
		v.oneOf(at+".action", o.Action, "enforce", "shadow")
		if len(o.Key) != len(l.Key) || len(o.Key) == 0 {
			v.fail(at+".key", fmt.Sprintf("%d parts for a key of %d", len(o.Key), len(l.Key)), `write one value, or "*", for each item of the limit's key`)
		}
	}
	v.hits(l, path+".hitsAddend")
	v.oneOf(path+".algorithm", l.Algorithm, "gcra", "tokenBucket", "slidingWindow")
	v.oneOf(path+".scope", l.Scope, "local", "shared", "global")
	v.oneOf(path+".action", l.Action, "enforce", "shadow")
	v.oneOf(path+".failureMode", l.FailureMode, "local", "allow", "deny")
	v.oneOf(path+".headers", l.Headers, "draft03", "off")
	v.percentage(path+".enabled", l.Enabled)
	v.percentage(path+".enforced", l.Enforced)
	if l.FailureMode != "" && l.Scope != "global" {
		v.fail(path+".failureMode", "only a limit of scope global asks a service that can be away", "leave it out, or write scope: global")
	}
	if l.Status != 0 && (l.Status < 400 || l.Status > 599) {
		v.fail(path+".status", fmt.Sprintf("want 400 to 599, got %d", l.Status), "")
	}
}

// rate checks requests and per.
func (v *validator) rate(requests uint32, per, path string) {
	if requests == 0 {
		v.fail(path+".requests", "must be at least 1", "to refuse everything write a VirtualService with directResponse")
	}
	if v.required(path+".per", per) {
		switch d, err := Per(per); {
		case err != nil:
			v.fail(path+".per", fmt.Sprintf("%q is not a span of time", per), "write second, minute, hour, day, or a duration such as 10s")
		case d < time.Millisecond:
			v.fail(path+".per", fmt.Sprintf("must be at least 1ms, got %s", d), "")
		}
	}
}

// concurrency checks a limit on requests in progress.
func (v *validator) concurrency(l *RateLimitRule, path string) {
	if l.Requests != 0 || l.Per != "" || l.Burst != 0 || l.Algorithm != "" || len(l.Overrides) > 0 {
		v.fail(path+".concurrency", "excludes requests, per, burst, algorithm and overrides", "write a second limit for the rate")
	}
	if l.Scope == "global" {
		v.fail(path+".scope", "requests in progress are counted by each proxy", "write scope: shared, which divides them among the proxies")
	}
}

// hits checks what a request costs.
func (v *validator) hits(l *RateLimitRule, path string) {
	h := l.HitsAddend
	switch {
	case h == nil:
	case l.Concurrency > 0:
		v.fail(path, "a request in progress takes one place", "leave it out")
	case (h.Number == 0) == (h.Header == ""):
		v.fail(path, "needs exactly one of number, at least 1, and header", "write number: 5, or header: x-cost")
	case h.Header != "" && !headerName(h.Header):
		v.fail(path+".header", fmt.Sprintf("%q is not a header's name", h.Header), "")
	case h.Header == "" && h.Max > 0:
		v.fail(path+".max", "max is for a header", "leave it out")
	case h.Number > ratelimitMaxHits || h.Max > ratelimitMaxHits:
		v.fail(path, fmt.Sprintf("want at most %d", ratelimitMaxHits), "")
	}
}

// ratelimitMaxHits is Envoy's most for what one request costs.
const ratelimitMaxHits = 1_000_000_000

// percentage checks an optional number of percent.
func (v *validator) percentage(path string, p *float64) {
	if p != nil && (*p < 0 || *p > 100 || math.Abs(*p*10_000-math.Round(*p*10_000)) > 1e-6) {
		v.fail(path, fmt.Sprintf("want a number of percent from 0 to 100 with at most four decimals, got %v", *p), "")
	}
}

// oneOf checks an optional word.
func (v *validator) oneOf(path, got string, words ...string) {
	if got != "" && !slices.Contains(words, got) {
		fix := ""
		if near := nearest.Of(got, words); near != "" {
			fix = "did you mean " + near + "?"
		}
		v.fail(path, fmt.Sprintf("want %s, got %q", strings.Join(words, " or "), got), fix)
	}
}

func (v *validator) key(k RateLimitKey, path string) {
	n := 0
	for _, set := range []bool{k.Header != "", k.Cookie != "", k.Query != "", k.Path, k.Method, k.SourceAddress, k.Route, k.TraceID, k.Literal != ""} {
		if set {
			n++
		}
	}
	if n != 1 {
		v.fail(path, fmt.Sprintf("a key needs exactly one of header, cookie, query, path, method, sourceAddress, route, traceId and literal, got %d", n), "one list item for each part of the key")
	}
	if (k.IPv4Prefix > 0 || k.IPv6Prefix > 0) && !k.SourceAddress {
		v.fail(path, "ipv4Prefix and ipv6Prefix are for sourceAddress", "add sourceAddress: true")
	}
	if k.IPv4Prefix > 32 {
		v.fail(path+".ipv4Prefix", fmt.Sprintf("want at most 32, got %d", k.IPv4Prefix), "")
	}
	if k.IPv6Prefix > 128 {
		v.fail(path+".ipv6Prefix", fmt.Sprintf("want at most 128, got %d", k.IPv6Prefix), "")
	}
	if k.Header != "" && !headerName(k.Header) {
		v.fail(path+".header", fmt.Sprintf("%q is not a header's name", k.Header), "")
	}
}

// Per is the span of RateLimitRule.Per: second, minute, hour, day, or a Go duration.
func Per(s string) (time.Duration, error) {
	switch s {
	case "second":
		return time.Second, nil
	case "minute":
		return time.Minute, nil
	case "hour":
		return time.Hour, nil
	case "day":
		return 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("parse per: %w", err)
	}
	return d, nil
}
