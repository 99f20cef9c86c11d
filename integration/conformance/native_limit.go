package conformance

import (
	"fmt"

	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// limitRoutes translates one limit to a local rate limit of one route. Envoy's default bucket serves requests that lack
// a part of the key: they share it, as they share a bucket of their own with Mizzen.
func limitRoutes(c *ratelimit.Config, id string, action obj, add adder) error {
	if len(c.Limits) != 1 {
		return fmt.Errorf("of several native limits each counts what another refuses")
	}
	l := &c.Limits[0]
	switch {
	case l.Concurrency > 0:
		return fmt.Errorf("stock Envoy has no limit of requests in progress by key; circuit breakers answer otherwise")
	case l.Algorithm == ratelimit.AlgorithmSlidingWindow:
		return fmt.Errorf("stock Envoy's local rate limit has no sliding window")
	case l.Scope == ratelimit.ScopeGlobal:
		return fmt.Errorf("stock Envoy's global rate limit needs a service")
	case c.MaxKeys > 0:
		return fmt.Errorf("stock Envoy's cap on dynamic descriptors refuses new keys instead of forgetting old ones")
	case len(l.Match) > 1:
		return fmt.Errorf("a native bucket belongs to one route; this limit has several matches")
	}
	f := obj{
		"@type": localRateLimit, "stat_prefix": id,
		"token_bucket":                        bucket(l.Requests, l.Burst, l),
		"filter_enabled":                      always(100),
		"filter_enforced":                     always(100),
		"always_consume_default_token_bucket": false,
		"rate_limited_as_resource_exhausted":  true,
	}
	if l.Action == ratelimit.ActionShadow {
		f["filter_enforced"] = always(0)
	}
	if l.Status != 0 {
		f["status"] = obj{"code": l.Status}
	}
	if c.Headers != ratelimit.HeadersOff {
		f["enable_x_ratelimit_headers"] = "DRAFT_VERSION_03"
	}
	if len(l.Key) > 0 {
		if err := descriptors(f, l); err != nil {
			return err
		}
	}
	return add(l.Match, action, obj{"local_ratelimit": f})
}

func descriptors(f obj, l *ratelimit.Limit) error {
	var actions, entries list
	for i, k := range l.Key {
		name := fmt.Sprintf("k%d", i)
		a, err := rateLimitAction(k, name)
		if err != nil {
			return err
		}
		actions = append(actions, a)
		entries = append(entries, obj{"key": name})
	}
	if len(l.Overrides) > 0 {
		return fmt.Errorf("a native override of a wildcard descriptor is a different limit")
	}
	f["rate_limits"] = list{obj{"actions": actions}}
	f["descriptors"] = list{obj{"entries": entries, "token_bucket": f["token_bucket"]}}
	f["max_dynamic_descriptors"] = 1000
	return nil
}

func rateLimitAction(k match.Key, name string) (obj, error) {
	headers := func(header string) obj {
		return obj{"request_headers": obj{"header_name": header, "descriptor_key": name}}
	}
	switch {
	case k.Header != "":
		return headers(k.Header), nil
	case k.Method:
		return headers(":method"), nil
	case k.Query != "":
		return obj{"query_parameters": obj{"query_parameter_name": k.Query, "descriptor_key": name}}, nil
	}
	return nil, fmt.Errorf("a local rate limit has no descriptor for this key that means the same")
}

func bucket(requests, burst uint32, l *ratelimit.Limit) obj {
	if burst == 0 {
		burst = requests
	}
	return obj{"max_tokens": burst, "tokens_per_fill": requests, "fill_interval": seconds(l.Per)}
}

func always(percent int) obj {
	return obj{"default_value": obj{"numerator": percent, "denominator": "HUNDRED"}}
}
