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
	// Translate is for an Envoy whose own tracer (tracing of the HTTP connection manager) makes the spans: the policy makes
	// no ids and decides nothing, but writes the span of Envoy's tracer in the formats of Inject, and in those that the request
	// carries. Extract then says which formats that tracer reads; default: b3, b3multi, w3c. Sampling and Export must be left
	// out. Hosts that do not tell that span (all but the dynamic module) refuse it.
	Translate bool `json:"translate,omitempty"`
	// IgnoreRequestID, with Translate, is for a connection manager whose request id extension has
	// use_request_id_for_trace_sampling false: it then samples all that no caller decided.
	IgnoreRequestID bool `json:"ignoreRequestId,omitempty"`
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

// Protocols of Export.
const (
	// OTLP is OTLP over HTTP with protobuf, which every OpenTelemetry collector and Jaeger take.
	OTLP = "otlp-http"
	// Zipkin is Zipkin's JSON of version 2.
	Zipkin = "zipkin"
)

// Kinds of the spans that Export makes.
const (
	// Server is for the proxy in front of an application: its span is the caller's span's child.
	Server = "server"
	// Client is for the proxy that an application calls others through, and for gateways towards what is behind them.
	Client = "client"
)

// Export sends a span for each sampled exchange, through one of Envoy's own clusters, in batches. Hosts that cannot call
// outside of requests (Envoy's golang filter) refuse it.
type Export struct {
	// Protocol is OTLP or Zipkin.
	Protocol string `json:"protocol"`
	// Cluster is the name of the cluster of the collector.
	Cluster string `json:"cluster"`
	// Path defaults to /v1/traces (OTLP) or /api/v2/spans (Zipkin).
	Path string `json:"path,omitempty"`
	// Host is the host header; default: the cluster's name, or the host in it where that is Istio's (direction|port|subset|host).
	Host string `json:"host,omitempty"`
	// Service names the workload in every span.
	Service string `json:"service"`
	// Kind is Server or Client.
	Kind string `json:"kind"`
	// Interval is how long a span waits at most for others to be sent with; default 1s, at least 100ms.
	Interval filter.Duration `json:"interval,omitzero"`
	// MaxBatch is how many spans are sent in one call at most; default 512, at most 4096. Eight times as many, and
	// 2048 at least, may wait.
	MaxBatch int `json:"maxBatch,omitempty"`
	// Timeout bounds a call; default 5s.
	Timeout filter.Duration `json:"timeout,omitzero"`
}
