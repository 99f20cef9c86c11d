package native

import (
	"cmp"
	"errors"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// Names of two filters of one kind, Envoy's rate limit filter, which has one answer for all limits while the service is away.
const (
	GlobalFilter     = "envoy.filters.http.ratelimit"      // lets pass
	GlobalDenyFilter = "envoy.filters.http.ratelimit.deny" // denies
)

// GlobalService is the filter that asks the service at cluster for what the configuration of a virtual host says (see Global), and
// without one for nothing. timeout 0 is Mizzen's default.
func GlobalService(cluster string, timeout time.Duration, deny bool) *filterv3.RateLimit {
	return &filterv3.RateLimit{
		Domain: ratelimit.DefaultDomain, Timeout: durationpb.New(cmp.Or(timeout, ratelimit.DefaultTimeout)), FailureModeDeny: deny,
		RateLimitedAsResourceExhausted: true, EnableXRatelimitHeaders: filterv3.RateLimit_DRAFT_VERSION_03,
		StatusOnError: &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		RateLimitService: &servicev3.RateLimitServiceConfig{
			TransportApiVersion: corev3.ApiVersion_V3,
			GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster},
			}},
		},
	}
}

// Global translates those limits of scope global that deny while the service is away, or those that do not, as the configuration of
// a virtual host or route; nil if there are none. Without c.Global there is no service, and Limits has them. Descriptors are
// those of Mizzen's own filter, but that a part which a request lacks is left out and parts have names of their own:
// `mizzen ratelimit` knows both forms.
func Global(c *ratelimit.Config, deny bool) (*filterv3.RateLimitPerRoute, []Refused) {
	out := &filterv3.RateLimitPerRoute{}
	var refused []Refused
	for i := range c.Limits {
		l := &c.Limits[i]
		if !asked(c, l) || deny != (onError(c, l) == ratelimit.OnErrorDeny) {
			continue
		}
		r, err := globalLimit(c, l)
		switch why := globalDiffers(c, l); {
		case err != nil:
			refused = append(refused, Refused{i, false, err})
			continue
		case why != nil:
			refused = append(refused, Refused{i, true, why})
		}
		out.RateLimits = append(out.RateLimits, r...)
	}
	if len(out.RateLimits) == 0 {
		return nil, refused
	}
	out.Domain = cmp.Or(c.Global.Domain, ratelimit.DefaultDomain)
	return out, refused
}

// asked tells whether a service counts l.
func asked(c *ratelimit.Config, l *ratelimit.Limit) bool {
	return l.Scope == ratelimit.ScopeGlobal && c.Global != nil
}

func onError(c *ratelimit.Config, l *ratelimit.Limit) string {
	return cmp.Or(l.OnError, c.Global.OnError, ratelimit.OnErrorLocal)
}

// globalDiffers says what of a limit in force is not as in Mizzen's filter.
func globalDiffers(c *ratelimit.Config, l *ratelimit.Limit) error {
	switch {
	case l.Status != 0 && l.Status != ratelimit.DefaultStatus:
		return errors.New("stock Envoy refuses with 429 what the rate-limit service refuses")
	case part(l.Enabled) || part(l.Enforced):
		return errors.New("stock Envoy has one fraction for all limits: this one is asked for every request, and enforced on every one over it")
	case onError(c, l) == ratelimit.OnErrorLocal:
		return errors.New("while the rate-limit service is away stock Envoy has no share of its own and lets every request pass: write failureMode: allow if that will do, or deny")
	}
	return nil
}

func globalLimit(c *ratelimit.Config, l *ratelimit.Limit) ([]*routev3.RateLimit, error) {
	out := &routev3.RateLimit{XRatelimitOption: tellsClients(c, l)}
	if len(l.Match) > 1 {
		return nil, errTwice
	}
	for _, m := range l.Match {
		var err error
		if out.Actions, err = conditions(m, "limit", l.Name); err != nil {
			return nil, err
		}
	}
	if len(out.Actions) == 0 {
		out.Actions = append(out.Actions, generic("limit", l.Name))
	}
	for i, k := range l.Key {
		a, _, err := keyPart(k, "part"+strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		out.Actions = append(out.Actions, a)
	}
	return costs(out, l.HitsAddend)
}

// tellsClients says whether the limit's numbers stand in x-ratelimit headers.
func tellsClients(c *ratelimit.Config, l *ratelimit.Limit) routev3.RateLimit_XRateLimitOption {
	if c.Headers == ratelimit.HeadersOff || l.Headers == ratelimit.HeadersOff {
		return routev3.RateLimit_OFF
	}
	return routev3.RateLimit_DRAFT_VERSION_03
}
