package ratelimit

import (
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// Config is a list of limits; every limit that matches must let the request pass, and the tightest one's numbers are
// told in x-ratelimit headers (draft-ietf-httpapi-ratelimit-headers-03).
type Config struct {
	Limits []Limit `json:"limits"`
	// Global says how limits of scope global are asked for; nil: they fall back to local.
	Global *Global `json:"global,omitempty"`
	// MaxKeys caps the keys remembered by this process for each limit; the longest unused goes first. Default 65536.
	MaxKeys int `json:"maxKeys,omitempty"`
	// Headers: "off" leaves out x-ratelimit headers. Default "draft03".
	Headers string `json:"headers,omitempty"`
}

// Limit allows Requests per Per for each key, with bursts of up to Burst.
type Limit struct {
	// Name identifies the limit: its state survives configuration updates under this name, and metrics carry it.
	Name  string          `json:"name"`
	Match []match.Request `json:"match,omitempty"` // any; none: all requests
	// Key parts are joined; none: one bucket for all. A request that lacks a part counts as one whose part is empty:
	// all that lack it share a bucket.
	Key      []match.Key     `json:"key,omitempty"`
	Requests uint32          `json:"requests"`
	Per      filter.Duration `json:"per"`
	// Burst is how many requests may come at once; default Requests. A slidingWindow has none.
	Burst uint32 `json:"burst,omitempty"`
	// HitsAddend is for how many requests one request counts; nil: 1.
	HitsAddend *HitsAddend `json:"hitsAddend,omitempty"`
	// Algorithm: gcra (default), tokenBucket, slidingWindow.
	Algorithm string `json:"algorithm,omitempty"`
	// Concurrency limits requests in progress instead of a rate; Requests and Per are then absent.
	Concurrency uint32 `json:"concurrency,omitempty"`
	// Scope: local (default; this proxy) or global (all proxies together).
	Scope string `json:"scope,omitempty"`
	// Action: enforce (default) or shadow (count and tell, but let pass).
	Action string `json:"action,omitempty"`
	// Overrides give keys their own numbers; "*" in a part matches anything. An override without "*" that fits wins,
	// else the first with one that does. "" is a missing part.
	Overrides []Override `json:"overrides,omitempty"`
	// Status of a refusal, default 429.
	Status int `json:"status,omitempty"`
	// OnError says what holds for a global limit while the service is away: local, allow or deny. Default Global.OnError.
	OnError string `json:"onError,omitempty"`
	// LocalShare is what part of the limit this proxy allows where it counts for itself: always if the scope is local,
	// while the service is away if it is global. Over 0, at most 1. Default 1, of a global limit Global.LocalShare.
	LocalShare float64 `json:"localShare,omitempty"`
	// Enabled is for what part of the matching requests the limit is asked at all. Default 100 (percent).
	Enabled *filter.Percent `json:"enabled,omitempty"`
	// Enforced is what part of those over the limit is refused; the others count as shadow. Default 100 (percent).
	Enforced *filter.Percent `json:"enforced,omitempty"`
	// MaxKeys caps the keys of this limit. Default Config.MaxKeys.
	MaxKeys int `json:"maxKeys,omitempty"`
	// Headers: "off" never tells this limit's numbers to clients. Default draft03.
	Headers string `json:"headers,omitempty"`
}

// HitsAddend is what a request costs, as envoy.config.route.v3.RateLimit.hits_addend: Number, or what its header says.
type HitsAddend struct {
	Number uint32 `json:"number,omitempty"` // 1 to MaxHits
	// Header holds a decimal number of at least 1. A request without it, or with anything else in it, costs 1.
	Header string `json:"header,omitempty"`
	// Max is the most that Header can say; what is more counts as Max. Default MaxHits.
	Max uint32 `json:"max,omitempty"`
}

// Override is a limit of its own for some keys.
type Override struct {
	Key      []string        `json:"key"`
	Requests uint32          `json:"requests"`
	Per      filter.Duration `json:"per"`
	Burst    uint32          `json:"burst,omitempty"`
	// Action: shadow for these keys. Default the limit's.
	Action string `json:"action,omitempty"`
}

// Global is a rate-limit service spoken to by Envoy's gRPC protocol (envoy.service.ratelimit.v3).
//
// A route's configuration that has global limits and no Global takes that of its listener's.
type Global struct {
	// Cluster is Envoy's name of the service: a cluster with HTTP/2.
	Cluster string `json:"cluster"`
	// Domain of the descriptors; default "mizzen".
	Domain  string          `json:"domain,omitempty"`
	Timeout filter.Duration `json:"timeout,omitempty"` // default 20ms
	// OnError: local (default: the local share decides), allow, or deny.
	OnError string `json:"onError,omitempty"`
	// LocalShare divides a limit while the service is away; default 1 (the whole limit).
	LocalShare float64 `json:"localShare,omitempty"`
}
