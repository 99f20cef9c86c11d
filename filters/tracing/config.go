package tracing

import "github.com/mizzen-mesh/mizzen/filters/filter"

// Format names a propagation format: w3c, b3 (single header), b3multi, jaeger (uber-trace-id), ot (x-ot-span-context).
type Format string

// The formats.
const (
	W3C     Format = "w3c"
	B3      Format = "b3"
	B3Multi Format = "b3multi"
	Jaeger  Format = "jaeger"
	OT      Format = "ot"
)

// Config says which trace headers are read, in which order of precedence, and which are written.
type Config struct {
	// Extract lists the formats read; the first that holds a valid context wins. Default: w3c, b3, b3multi, jaeger, ot.
	Extract []Format `json:"extract,omitempty"`
	// Inject lists the formats written. Default: w3c, b3multi. jaeger and ot may be written too.
	Inject   []Format `json:"inject,omitempty"`
	Sampling Sampling `json:"sampling,omitzero"`
	Baggage  *Baggage `json:"baggage,omitempty"`
	// KeepRequestID leaves x-request-id alone when it is absent; by default one is made.
	KeepRequestID bool `json:"keepRequestId,omitempty"`
	// Annotate puts the trace id into the dynamic metadata, for access logs: %DYNAMIC_METADATA(mizzen:trace_id)%. Off by
	// default: it costs more than the rest of the policy, and %REQ(TRACEPARENT)% says the same.
	Annotate bool `json:"annotate,omitempty"`
	// Export sends spans; nil: headers only.
	Export *Export `json:"export,omitempty"`
}

// Sampling decides for requests without an incoming decision.
type Sampling struct {
	// Percentage of new traces sampled; nil: 100.
	Percentage *filter.Percent `json:"percentage,omitempty"`
	// IgnoreParent decides anew even where the caller decided.
	IgnoreParent bool `json:"ignoreParent,omitempty"`
	// Header, if present in the request with value 1 or true, forces sampling.
	Header string `json:"header,omitempty"`
	// PerSecond caps the new traces sampled by this process; 0: no cap.
	PerSecond float64 `json:"perSecond,omitempty"`
}

// Baggage bounds the W3C baggage header that is passed on.
type Baggage struct {
	MaxBytes int      `json:"maxBytes,omitempty"` // default 8192
	Allow    []string `json:"allow,omitempty"`    // member names; none: all
}

// Export says where spans go: through one of Envoy's own clusters, in batches.
type Export struct {
	Protocol string          `json:"protocol"` // otlp-http or zipkin
	Cluster  string          `json:"cluster"`
	Path     string          `json:"path,omitempty"`
	Service  string          `json:"service"`
	Kind     string          `json:"kind"` // server or client
	Interval filter.Duration `json:"interval,omitempty"`
	MaxBatch int             `json:"maxBatch,omitempty"`
}
