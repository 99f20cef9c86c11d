package registry

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

// What to do after a panic in a policy.
const (
	// FailOpen goes on without the policy. The default.
	FailOpen = "open"
	// FailClosed answers 500.
	FailClosed = "closed"
)

// Config is the configuration of the one Mizzen filter, for a listener or for a route. A policy that is nil is left
// to the less specific level.
type Config struct {
	// Failure is FailOpen or FailClosed; "" means FailOpen.
	Failure   string            `json:"failure,omitempty"`
	Tracing   *tracing.Config   `json:"tracing,omitempty"`
	Canary    *canary.Config    `json:"canary,omitempty"`
	RateLimit *ratelimit.Config `json:"ratelimit,omitempty"`
	Fault     *fault.Config     `json:"fault,omitempty"`
	// Off names policies that this level switches off; in JSON such a policy is null. A policy in both is an error.
	Off []string `json:"-"`
}

// IsZero tells whether c says nothing at all.
func (c *Config) IsZero() bool {
	return c == nil || c.Failure == "" && c.Tracing == nil && c.Canary == nil && c.RateLimit == nil && c.Fault == nil &&
		len(c.Off) == 0
}

// MarshalJSON writes what Parse reads, always in the same order.
func (c Config) MarshalJSON() ([]byte, error) {
	type plain Config
	b, err := json.Marshal(plain(c))
	if err != nil || len(c.Off) == 0 {
		return b, err
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(b, &given); err != nil {
		return nil, err
	}
	off := slices.Compact(slices.Sorted(slices.Values(c.Off)))
	b = b[:len(b)-1]
	for _, name := range off {
		if _, both := given[name]; both {
			return nil, fmt.Errorf("encode mizzen configuration: policy %s is both configured and off", name)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%q:null", name)
	}
	return append(b, '}'), nil
}
