package native

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// LimitFilter is the name of Envoy's local rate limit filter.
const LimitFilter = "envoy.filters.http.local_ratelimit"

const (
	// maxKeys is Mizzen's default for Config.MaxKeys; Envoy's own is 20.
	maxKeys = 65536
	// minFill is the shortest time in which Envoy fills a bucket.
	minFill = 50 * time.Millisecond
	// maxParts bounds the parts of a key: each may be absent, which makes a descriptor of every combination.
	maxParts = 4
)

// Refused is a limit that Envoy's filter cannot have, or has with a difference.
type Refused struct {
	Index int // in Config.Limits
	// Kept tells that the limit is in force all the same, but for what Why says.
	Kept bool
	Why  error
}

// Limits translates the limits to Envoy's local rate limit filter, as the configuration of a virtual host or route; nil if none is
// left. Each limit is a descriptor whose first entry is its name; the default bucket, which serves what no limit matches, is
// as good as endless. What is refused is left out, so that the rest still holds. Limits that a service counts are Global's.
func Limits(c *ratelimit.Config, stat string) (*localv3.LocalRateLimit, []Refused) {
	t := &limits{config: c, out: &localv3.LocalRateLimit{
		StatPrefix:                      stat,
		FilterEnabled:                   always(),
		FilterEnforced:                  always(),
		AlwaysConsumeDefaultTokenBucket: wrapperspb.Bool(false),
		RateLimitedAsResourceExhausted:  true,
		MaxDynamicDescriptors:           wrapperspb.UInt32(uint32(cmp.Or(c.MaxKeys, maxKeys))),
	}}
	for i := range c.Limits {
		if asked(c, &c.Limits[i]) {
			continue
		}
		if why, kept := t.add(&c.Limits[i]); why != nil {
			t.refused = append(t.refused, Refused{i, kept, why})
		}
	}
	if len(t.out.Descriptors) == 0 {
		return nil, t.refused
	}
	t.out.TokenBucket = bucket(math.MaxUint32, math.MaxUint32, t.fill)
	return t.out, t.refused
}

var errTwice = errors.New("stock Envoy would count a request that two matches hold for twice: write a limit for each match")

type limits struct {
	config  *ratelimit.Config
	out     *localv3.LocalRateLimit
	fill    time.Duration // divides every limit's Per, as Envoy demands of the default bucket
	refused []Refused
}

// add returns why a limit is left out; or, kept, why it does not mean quite the same.
func (t *limits) add(l *ratelimit.Limit) (why error, kept bool) {
	per := time.Duration(l.Per)
	fill := gcd(t.fill, per)
	switch {
	case l.Concurrency > 0:
		return errors.New("stock Envoy has no limit of requests in progress by key: a DestinationRule's connectionPool is what comes nearest"), false
	case l.Algorithm == ratelimit.AlgorithmSlidingWindow:
		return errors.New("stock Envoy's local rate limit has no sliding window: choose tokenBucket"), false
	case fill < minFill:
		return fmt.Errorf("stock Envoy fills its buckets at most every %s, and all limits of a host in step: choose whole seconds", minFill), false
	case len(l.Overrides) > 0:
		return errors.New("stock Envoy counts an override beside its limit, not in its place: write a limit with a match for these keys"), false
	case len(l.Match) > 1:
		return errTwice, false
	case len(l.Key) > maxParts:
		return fmt.Errorf("a key of more than %d parts makes too many descriptors", maxParts), false
	}
	actions := []*routev3.RateLimit_Action{generic("limit", l.Name)}
	entries := []*ratelimitv3.RateLimitDescriptor_Entry{{Key: "limit", Value: l.Name}}
	for _, m := range l.Match {
		more, err := conditions(m, "match", "yes")
		if err != nil {
			return err, false
		}
		for _, a := range more {
			actions = append(actions, a)
			entries = append(entries, &ratelimitv3.RateLimitDescriptor_Entry{Key: "match", Value: "yes"})
		}
	}
	parts := []*ratelimitv3.RateLimitDescriptor_Entry{}
	for i, k := range l.Key {
		a, e, err := keyPart(k, "k"+strconv.Itoa(i))
		if err != nil {
			return err, false
		}
		actions, parts = append(actions, a), append(parts, e)
	}
	if l.Status != 0 {
		if t.out.Status != nil && int(t.out.Status.Code) != l.Status {
			why, kept = fmt.Errorf("stock Envoy refuses with one status for all limits of a host, %d here", t.out.Status.Code), true
		} else {
			t.out.Status = &typev3.HttpStatus{Code: typev3.StatusCode(l.Status)}
		}
	}
	if l.Scope == ratelimit.ScopeGlobal {
		why, kept = errors.New("stock Envoy's local rate limit counts in each proxy for itself: each replica has its share of a global limit, or all of it"), true
	}
	if part(l.Enabled) || part(l.Enforced) {
		why, kept = errors.New("stock Envoy has one fraction for all limits of a host: this one is asked for every request, and enforced on every one over it"), true
	}
	t.fill = fill
	limit := &routev3.RateLimit{Actions: actions, XRatelimitOption: tellsClients(t.config, l)}
	priced, err := costs(limit, l.HitsAddend)
	if err != nil {
		return err, false
	}
	t.out.RateLimits = append(t.out.RateLimits, priced...)
	// A request that lacks parts of the key shares a bucket with all that lack the same.
	for missing := range 1 << len(parts) {
		d := &ratelimitv3.LocalRateLimitDescriptor{
			Entries:     append([]*ratelimitv3.RateLimitDescriptor_Entry(nil), entries...),
			TokenBucket: bucket(share(cmp.Or(l.Burst, l.Requests), l), share(l.Requests, l), per),
			ShadowMode:  l.Action == ratelimit.ActionShadow,
		}
		for i, p := range parts {
			if missing&(1<<i) == 0 {
				d.Entries = append(d.Entries, p)
			}
		}
		t.out.Descriptors = append(t.out.Descriptors, d)
	}
	return why, kept
}

// conditions are actions that end a descriptor where the match does not hold, and give it an entry of key and value where it does.
func conditions(m match.Request, key, value string) ([]*routev3.RateLimit_Action, error) {
	if len(m.Cookies) > 0 {
		return nil, errors.New("stock Envoy's rate limits cannot look at cookies: match a header")
	}
	path := m.Path
	m.Path = nil
	named, err := headerMatchers(&m)
	if err != nil {
		return nil, err
	}
	if path != nil {
		h, err := pathHeader(path, m.IgnorePathCase)
		if err != nil {
			return nil, err
		}
		named = append(named, h)
	}
	query, err := queryMatchers(m.Query)
	if err != nil {
		return nil, err
	}
	var out []*routev3.RateLimit_Action
	if len(named) > 0 {
		out = append(out, &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_HeaderValueMatch_{
			HeaderValueMatch: &routev3.RateLimit_Action_HeaderValueMatch{DescriptorKey: key, DescriptorValue: value, Headers: named},
		}})
	}
	if len(query) > 0 {
		out = append(out, &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_QueryParameterValueMatch_{
			QueryParameterValueMatch: &routev3.RateLimit_Action_QueryParameterValueMatch{DescriptorKey: key, DescriptorValue: value, QueryParameters: query},
		}})
	}
	return out, nil
}

// keyPart reads one part of the key; a request without it goes on without the entry.
func keyPart(k match.Key, name string) (*routev3.RateLimit_Action, *ratelimitv3.RateLimitDescriptor_Entry, error) {
	header := func(h string) *routev3.RateLimit_Action {
		return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_RequestHeaders_{
			RequestHeaders: &routev3.RateLimit_Action_RequestHeaders{HeaderName: h, DescriptorKey: name, SkipIfAbsent: true},
		}}
	}
	any := &ratelimitv3.RateLimitDescriptor_Entry{Key: name}
	switch {
	case k.Header != "":
		return header(k.Header), any, nil
	case k.Method:
		return header(":method"), any, nil
	case k.Query != "":
		return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_QueryParameters_{
			QueryParameters: &routev3.RateLimit_Action_QueryParameters{QueryParameterName: k.Query, DescriptorKey: name, SkipIfAbsent: true},
		}}, any, nil
	case k.IPv4Prefix > 0 || k.IPv6Prefix > 0:
		return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_MaskedRemoteAddress_{
			MaskedRemoteAddress: &routev3.RateLimit_Action_MaskedRemoteAddress{V4PrefixMaskLen: prefix(k.IPv4Prefix), V6PrefixMaskLen: prefix(k.IPv6Prefix)},
		}}, &ratelimitv3.RateLimitDescriptor_Entry{Key: "masked_remote_address"}, nil
	case k.SourceAddress:
		return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_RemoteAddress_{
			RemoteAddress: &routev3.RateLimit_Action_RemoteAddress{},
		}}, &ratelimitv3.RateLimitDescriptor_Entry{Key: "remote_address"}, nil
	case k.Literal != "":
		return generic(name, k.Literal), &ratelimitv3.RateLimitDescriptor_Entry{Key: name, Value: k.Literal}, nil
	}
	return nil, nil, errors.New("stock Envoy's rate limits have no such key: header, query, method and sourceAddress are what they know")
}

// prefix is nil for all bits.
func prefix(bits uint8) *wrapperspb.UInt32Value {
	if bits == 0 {
		return nil
	}
	return wrapperspb.UInt32(uint32(bits))
}

// share is this proxy's part of a number, at least 1. A global limit is asked for elsewhere in Mizzen; here it is counted locally.
func share(n uint32, l *ratelimit.Limit) uint32 {
	if l.LocalShare == 0 {
		return n
	}
	return max(uint32(math.Round(float64(n)*l.LocalShare)), 1)
}

func part(p *filter.Percent) bool { return p != nil && *p < filter.Whole }

func generic(key, value string) *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_GenericKey_{
		GenericKey: &routev3.RateLimit_Action_GenericKey{DescriptorKey: key, DescriptorValue: value},
	}}
}

func bucket(size, fill uint32, per time.Duration) *typev3.TokenBucket {
	return &typev3.TokenBucket{MaxTokens: size, TokensPerFill: wrapperspb.UInt32(fill), FillInterval: durationpb.New(per)}
}

func always() *corev3.RuntimeFractionalPercent {
	return &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 100}}
}

func gcd(a, b time.Duration) time.Duration {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
