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
}

// Override is a limit of its own for some keys.
type Override struct {
	Key      []string        `json:"key"`
	Requests uint32          `json:"requests"`
	Per      filter.Duration `json:"per"`
	Burst    uint32          `json:"burst,omitempty"`
}

// Global is a rate-limit service spoken to by Envoy's gRPC protocol (envoy.service.ratelimit.v3).
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
