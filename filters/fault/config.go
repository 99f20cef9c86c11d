package fault

import (
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// Config is an ordered list of faults; the first rule that matches applies, its faults drawn independently.
// Source: Envoy's HTTPFault, Istio's HTTPFaultInjection.
type Config struct {
	Rules []Rule `json:"rules"`
	// AllowHeaders obeys x-envoy-fault-* request headers, capped by the rule's percentages. Off by default.
	AllowHeaders bool `json:"allowHeaders,omitempty"`
	// MaxActive caps the faults in progress in this Envoy; 0: no cap.
	MaxActive uint32 `json:"maxActive,omitempty"`
}

// Rule is a delay, an abort, a response rate, or several of them, for requests that any of Match matches (none: all).
type Rule struct {
	Name  string          `json:"name,omitempty"`
	Match []match.Request `json:"match,omitempty"`
	Delay *Delay          `json:"delay,omitempty"`
	Abort *Abort          `json:"abort,omitempty"`
	// ResponseRate limits the response body.
	ResponseRate *ResponseRate `json:"responseRate,omitempty"`
	// Metadata is told to the access log when one of the rule's faults is injected: %DYNAMIC_METADATA(mizzen:fault.<key>)%.
	// Source: HTTPFault.filter_metadata.
	Metadata map[string]string `json:"metadata,omitempty"`
	// Key makes the draw deterministic: the same key is always, or never, hit.
	Key *match.Key `json:"key,omitempty"`
	// From and Until bound the rule in time; zero: unbounded.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Delay holds a request back before it is forwarded. Exactly one of Fixed and Distribution is set.
type Delay struct {
	Percentage   filter.Percent  `json:"percentage"`
	Fixed        filter.Duration `json:"fixed,omitempty"`
	Distribution *Distribution   `json:"distribution,omitempty"`
}

// Distribution of delays. Kind is uniform (Min, Max), normal (Mean, StdDev), exponential (Mean), pareto (Min, Shape)
// or histogram (Percentiles). Max, if set, truncates every kind.
type Distribution struct {
	Kind        string          `json:"kind"`
	Min         filter.Duration `json:"min,omitempty"`
	Max         filter.Duration `json:"max,omitempty"`
	Mean        filter.Duration `json:"mean,omitempty"`
	StdDev      filter.Duration `json:"stdDev,omitempty"`
	Shape       float64         `json:"shape,omitempty"`
	Percentiles []Percentile    `json:"percentiles,omitempty"`
}

// Percentile is one point of a latency histogram: P (percent) of requests take at most Value.
type Percentile struct {
	P     float64         `json:"p"`
	Value filter.Duration `json:"value"`
}

// Abort answers instead of the upstream. Exactly one of HTTPStatus, GRPCStatus and Reset is set.
type Abort struct {
	Percentage filter.Percent `json:"percentage"`
	HTTPStatus int            `json:"httpStatus,omitempty"`
	GRPCStatus *int           `json:"grpcStatus,omitempty"`
	// Reset gives no answer: the client's HTTP/2 stream is reset, its HTTP/1 connection closed. Hosts that cannot refuse it.
	Reset bool `json:"reset,omitempty"`
	// AfterResponse lets the upstream do its work and then loses the answer.
	AfterResponse bool `json:"afterResponse,omitempty"`
}

// ResponseRate throttles response bodies. The policy decides, and Envoy's own fault filter, which must stand behind it,
// does it (see ThroughputHeader). Source: HTTPFault.response_rate_limit.
type ResponseRate struct {
	Percentage filter.Percent `json:"percentage"`
	// KiBPerS is in KiB (1024 bytes) a second, 1 to MaxRate; 0 only with AllowHeaders: what the request asks for.
	KiBPerS uint64 `json:"kibPerSecond,omitempty"`
}

// MaxRate is the highest response rate, in KiB/s: 1 TiB/s, far beyond any Envoy.
const MaxRate = 1 << 30

// Throttles tells whether c may throttle a response: Envoy then needs its own fault filter behind Mizzen's.
func (c *Config) Throttles() bool {
	for i := range c.Rules {
		if c.Rules[i].ResponseRate != nil {
			return true
		}
	}
	return false
}
