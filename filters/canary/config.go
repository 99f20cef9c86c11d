package canary

import (
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

// RouteHeader is the internal request header that carries the decision to Envoy's route table. The policy removes it
// from every request before it decides; the control plane's route tables keep it from leaving the proxy.
const RouteHeader = "x-mizzen-route"

// ClusterHeader is the internal request header that carries the chosen cluster where canary is used alone, with an
// Envoy route of `cluster_header: x-mizzen-cluster`.
const ClusterHeader = "x-mizzen-cluster"

// Config is an ordered list of rules; the first that matches decides. No rule matching leaves the request alone.
type Config struct {
	Rules []Rule `json:"rules"`
	// Sticky applies to rules that have none of their own; nil draws for every request.
	Sticky *Sticky `json:"sticky,omitempty"`
	// ResponseHeader, if set, names a response header that tells the decision as "rule/destination".
	ResponseHeader string `json:"responseHeader,omitempty"`
	// Lane carries the decision taken at the edge along the chain in baggage.
	Lane *Lane `json:"lane,omitempty"`
	// CountResponses counts responses by rule, destination and class (MetricResponses). It costs a look at every response.
	CountResponses bool `json:"countResponses,omitempty"`
}

// Rule matches if any of Match does (none: always), and then picks one destination by weight.
type Rule struct {
	Name         string          `json:"name"`
	Match        []match.Request `json:"match,omitempty"`
	Destinations []Destination   `json:"destinations"`
	Sticky       *Sticky         `json:"sticky,omitempty"`
	// Steps change the weights by the clock, each from its own time on. Before the first one those of Destinations hold.
	Steps []Step `json:"steps,omitempty"`
}

// Step gives destinations new weights from a time on. Every proxy takes it by its own clock.
type Step struct {
	// At is when it begins (RFC 3339 in JSON), after that of the step before.
	At time.Time `json:"at"`
	// Weights are by the destinations' names; those left out keep the weight of the step before.
	Weights map[string]uint32 `json:"weights"`
}

// Destination is one side of a rule. Name is its stable identity for stickiness, metrics and the lane ("v1").
type Destination struct {
	Name string `json:"name"`
	// Weight is relative to the sum of the rule's weights. One destination may leave it out.
	Weight uint32 `json:"weight,omitempty"`
	// Route is the value written to RouteHeader, which the compiled route table matches exactly. With several Match
	// entries in the rule the index of the entry that matched is appended as ".<index>", from 0.
	Route string `json:"route,omitempty"`
	// Cluster is written to ClusterHeader (canary used alone). Exactly one of Route and Cluster is set.
	Cluster string `json:"cluster,omitempty"`
}

// Sticky makes the same key get the same side. Weighted rendezvous hashing: raising one side's weight moves keys to
// that side only.
type Sticky struct {
	// Key is the source of the key; a request without it is drawn at random.
	Key match.Key `json:"key"`
	// Salt separates experiments, so that one user is not the canary of all of them. Default: the rule's name.
	Salt string `json:"salt,omitempty"`
	// SetCookie, with a cookie key: gives requests that lack the cookie a random key in it, whichever side they got.
	SetCookie *Cookie `json:"setCookie,omitempty"`
}

// Cookie holds the attributes of a cookie that canary sets. TTL 0: a session cookie.
type Cookie struct {
	Path     string          `json:"path,omitempty"`
	TTL      filter.Duration `json:"ttl,omitempty"`
	Domain   string          `json:"domain,omitempty"`
	SameSite string          `json:"sameSite,omitempty"` // Strict, Lax, None
	Secure   bool            `json:"secure,omitempty"`
	HTTPOnly bool            `json:"httpOnly,omitempty"`
}

// Lane makes a whole chain use its canaries together: the decision travels in a W3C baggage member, as the name of the
// destination. A rule that has a destination of that name sends the request there, whatever the weights (also 0).
type Lane struct {
	// Key is the baggage member's name, default "mizzen-lane".
	Key string `json:"key,omitempty"`
	// Start writes the member after a decision. It is for the edge: a member that comes in is the client's word there,
	// so it is not followed but removed. Without Start the policy only follows a member that came in.
	Start bool `json:"start,omitempty"`
}
