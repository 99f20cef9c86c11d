package istio

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// retryWords are the policies that Istio lets pass in retryOn: Envoy's for HTTP and gRPC. Status codes pass too.
func retryWords() []string {
	return []string{
		"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
		"refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure",
		"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	}
}

func (v *validator) retries(r *networking.HTTPRoute, path string) {
	p := r.Retries
	if p == nil {
		return
	}
	v.notNegative(path+".attempts", p.Attempts)
	v.positive(path+".perTryTimeout", p.PerTryTimeout, "leave perTryTimeout out for the route's timeout")
	v.positive(path+".backoff", p.Backoff, "leave backoff out for 25ms")
	if p.Attempts == 0 {
		if p.RetryOn != "" || p.PerTryTimeout != nil || p.Backoff != nil {
			v.fail(path, "attempts is 0 or missing, which means no retries, and yet the rest is set", "add attempts, or take the rest away")
		}
		return
	}
	if p.RetryOn == "" {
		v.add(CodeRetryOn, Info, path, "without retryOn a connection failure is tried again, an answered 500 or 503 is not", "add retryOn: 5xx if that is meant")
	}
	v.retryOn(path+".retryOn", p.RetryOn)
	if t := r.Timeout; t != nil && p.PerTryTimeout != nil && p.PerTryTimeout.AsDuration() >= t.AsDuration() && t.AsDuration() > 0 {
		v.trap(path+".perTryTimeout", "a try that times out leaves no time for another: the route's timeout is over too", "make it shorter than timeout")
	}
}

func (v *validator) retryOn(path, words string) {
	if words == "" {
		return
	}
	known := retryWords()
	for w := range strings.SplitSeq(words, ",") {
		if n, err := strconv.Atoi(w); err == nil && http.StatusText(n) != "" || slices.Contains(known, w) {
			continue
		}
		fix := "known are " + strings.Join(known, ", ") + " and status codes"
		switch near := nearest.Of(strings.TrimSpace(w), known); {
		case w != strings.TrimSpace(w):
			fix = fmt.Sprintf("no blanks between the commas: write %q", strings.ReplaceAll(words, " ", ""))
		case near != "":
			fix = "did you mean " + near + "?"
		}
		v.fail(path, fmt.Sprintf("%q is not a retry condition", w), fix)
	}
}

func (v *validator) fault(r *networking.HTTPRoute, path string) {
	f := r.Fault
	if f.Delay == nil && f.Abort == nil {
		v.fail(path, "a fault needs delay or abort", "")
	}
	if d := f.Delay; d != nil {
		p := path + ".delay"
		if d.GetFixedDelay() == nil {
			v.fail(p, "fixedDelay is required", "add fixedDelay: 5s")
		}
		v.positive(p+".fixedDelay", d.GetFixedDelay(), "")
		v.faultPercentage(p, d.Percentage)
		if r.Timeout != nil {
			v.note(p, "the delay passes before the route's timeout starts to count", "")
		}
	}
	if a := f.Abort; a != nil {
		p := path + ".abort"
		switch t := a.ErrorType.(type) {
		case nil:
			v.fail(p, "httpStatus or grpcStatus is required", "")
		case *networking.HTTPFaultInjection_Abort_HttpStatus:
			v.within(p+".httpStatus", int64(t.HttpStatus), 200, 599)
		case *networking.HTTPFaultInjection_Abort_GrpcStatus:
			v.grpcStatus(p+".grpcStatus", t.GrpcStatus)
		}
		v.faultPercentage(p, a.Percentage)
	}
}

func (v *validator) faultPercentage(path string, p *networking.Percent) {
	if p == nil {
		v.trap(path, "a fault without a percentage does nothing", "add percentage: {value: 100}")
		return
	}
	v.percent(path+".percentage.value", p)
}

func grpcStatuses() []string {
	return []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
}

func (v *validator) grpcStatus(path, s string) {
	known := grpcStatuses()
	if slices.Contains(known, s) {
		return
	}
	fix := "known are " + strings.Join(known, ", ")
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < len(known) {
		fix = "write " + known[n]
	} else if near := nearest.Of(s, known); near != "" {
		fix = "did you mean " + near + "?"
	}
	v.fail(path, fmt.Sprintf("%q is not a gRPC status", s), fix)
}

func (v *validator) cors(c *networking.CorsPolicy, path string) {
	for i, o := range c.AllowOrigins {
		p := index(path+".allowOrigins", i)
		if o.GetMatchType() == nil {
			v.fail(p, "an origin needs exact, prefix or regex", "")
			continue
		}
		v.value(o, p)
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"}
	for i, m := range c.AllowMethods {
		if !slices.Contains(methods, m) {
			fix := ""
			if up := strings.ToUpper(m); slices.Contains(methods, up) {
				fix = "write " + up
			}
			v.fail(index(path+".allowMethods", i), fmt.Sprintf("%q is not a method", m), fix)
		}
	}
	v.headerNames(path+".allowHeaders", c.AllowHeaders)
	v.headerNames(path+".exposeHeaders", c.ExposeHeaders)
	if d := c.MaxAge; d != nil && (d.Seconds < 0 || d.Nanos != 0) {
		v.fail(path+".maxAge", "must be whole seconds, not negative", "")
	}
}

func (v *validator) headerNames(path string, names []string) {
	for i, h := range names {
		if !headerName(h) {
			v.fail(index(path, i), fmt.Sprintf("%q is not a header's name", h), "")
		}
	}
}

func (v *validator) rewrite(r *networking.HTTPRoute, path string) {
	w := r.Rewrite
	switch {
	case w.Uri != "" && w.UriRegexRewrite != nil:
		v.fail(path+".uriRegexRewrite", "uri and uriRegexRewrite exclude each other", "keep one")
	case w.Uri == "" && w.Authority == "" && w.UriRegexRewrite == nil:
		v.fail(path, "a rewrite needs uri, authority or uriRegexRewrite", "")
	}
	if x := w.UriRegexRewrite; x != nil {
		v.required(path+".uriRegexRewrite.match", x.Match)
		v.regex(path+".uriRegexRewrite.match", x.Match)
		if v.required(path+".uriRegexRewrite.rewrite", x.Rewrite) {
			v.substitution(path+".uriRegexRewrite.rewrite", x.Match, x.Rewrite)
		}
	}
	v.line(path+".uri", w.Uri)
	v.line(path+".authority", w.Authority)
	if w.Uri == "" || r.Redirect != nil || r.DirectResponse != nil {
		return
	}
	if !strings.HasSuffix(w.Uri, "/") {
		v.rewriteJoins(r, path+".uri")
		return
	}
	for _, m := range r.Match {
		if p := m.GetUri().GetPrefix(); p != "" && !strings.HasSuffix(p, "/") {
			v.note(path+".uri", fmt.Sprintf("%s/x becomes %s/x: the prefix %q is replaced, and what follows keeps its '/'", p, w.Uri, p),
				fmt.Sprintf("match %s/ first if the application minds", p))
			return
		}
	}
}

// rewriteJoins tells of a prefix that ends in '/', or a route without a path, which means "/": the '/' is replaced too.
func (v *validator) rewriteJoins(r *networking.HTTPRoute, path string) {
	prefix := ""
	for _, m := range r.Match {
		if p := m.GetUri().GetPrefix(); prefix == "" && (m.GetUri() == nil || strings.HasSuffix(p, "/")) {
			prefix = cmp.Or(p, "/")
		}
	}
	if len(r.Match) == 0 {
		prefix = "/"
	}
	if prefix != "" {
		v.note(path, fmt.Sprintf("%sx becomes %sx: the prefix %q is replaced with its '/'", prefix, r.Rewrite.Uri, prefix),
			"write "+r.Rewrite.Uri+"/ if that is meant")
	}
}

func (v *validator) redirect(r *networking.HTTPRoute, path string) {
	d := r.Redirect
	if d.Uri == "" && d.Authority == "" && d.Scheme == "" && d.PrefixRewrite == "" && d.RedirectPort == nil && d.RedirectCode == 0 {
		v.fail(path, "a redirect needs uri, authority, scheme, port, prefixRewrite or redirectCode", "")
	}
	v.line(path+".uri", d.Uri)
	v.line(path+".authority", d.Authority)
	v.line(path+".prefixRewrite", d.PrefixRewrite)
	switch d.RedirectCode {
	case 0, 301, 302, 303, 307, 308:
	default:
		v.fail(path+".redirectCode", fmt.Sprintf("must be 301, 302, 303, 307 or 308, got %d", d.RedirectCode), "")
	}
	if d.Scheme != "" && d.Scheme != "http" && d.Scheme != "https" {
		v.fail(path+".scheme", fmt.Sprintf("must be http or https, got %q", d.Scheme), "")
	}
	if p, ok := d.RedirectPort.(*networking.HTTPRedirect_Port); ok {
		v.port(path+".port", p.Port)
	}
	if d.PrefixRewrite == "" {
		return
	}
	if d.Uri != "" {
		v.fail(path+".prefixRewrite", "uri and prefixRewrite exclude each other", "keep one")
	}
	for _, m := range r.Match {
		if m.Uri != nil && m.Uri.GetPrefix() == "" {
			v.fail(path+".prefixRewrite", "needs matches by uri.prefix only", "")
			return
		}
	}
}

// Envoy answers directly with at most 1 MiB; Istio warns from a tenth of that, since every proxy holds the body.
const (
	largeBody   = 100 << 10
	largestBody = 1 << 20
)

func (v *validator) direct(d *networking.HTTPDirectResponse, path string) {
	v.within(path+".status", int64(d.Status), 200, 599)
	switch n := len(d.Body.GetString_()) + len(d.Body.GetBytes()); {
	case n > largestBody:
		v.fail(path+".body", fmt.Sprintf("a body of %d bytes; at most %d are allowed", n, largestBody), "")
	case n > largeBody:
		v.trap(path+".body", fmt.Sprintf("a body of %d bytes is held by every proxy", n), "")
	}
	if d.Body != nil && d.Body.Specifier == nil {
		v.fail(path+".body", "a body needs string or bytes", "")
	}
}

// headerTwice tells of a header that both the route and one of its several destinations set. Envoy edits the destination's
// first, so that the route's value is what arrives; with one destination it is the other way round.
func (v *validator) headerTwice(r *networking.HTTPRoute, path string) {
	if len(r.Route) < 2 {
		return
	}
	side := func(route, own *networking.Headers_HeaderOperations, path string) {
		for _, name := range sortedKeys(own.GetSet()) {
			for _, wins := range sortedKeys(route.GetSet()) {
				if strings.EqualFold(name, wins) && route.Set[wins] != own.Set[name] {
					v.trap(join(path+".set", name), fmt.Sprintf("the route sets %s too, and of several destinations the route's value wins: %q", wins, route.Set[wins]),
						"set it on the destinations only")
				}
			}
		}
	}
	for i, d := range r.Route {
		at := index(path+".route", i) + ".headers"
		side(r.GetHeaders().GetRequest(), d.GetHeaders().GetRequest(), at+".request")
		side(r.GetHeaders().GetResponse(), d.GetHeaders().GetResponse(), at+".response")
	}
}
