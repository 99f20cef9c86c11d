package mesh

import "time"

// Tracing is what MeshConfig and the Telemetries say about tracing.
type Tracing struct {
	// Default is the provider of proxies that no Telemetry gives one; nil: no spans are reported.
	Default *TraceProvider
	// Tags are the custom tags where no Telemetry names some: MeshConfig's defaultConfig.
	Tags []*TraceTag
	// Policies are the Telemetries with a tracing section, in order of precedence (oldest first, then by name).
	Policies []*TracePolicy
	// Providers are all that anybody may be given, sorted by name; Default last, if it is MeshConfig's old one.
	Providers []*TraceProvider
}

// TracePolicy is the tracing of one Telemetry. For a proxy the rules of the root namespace's, of its own namespace's and of
// the one that selects it are taken one after the other, each setting what it names.
type TracePolicy struct {
	Bearing
	Rules []*TraceRule
}

// TraceRule is one entry of Telemetry.tracing. What is nil, or not named, is left as it was.
type TraceRule struct {
	Client, Server bool // the sides that it is about: client is outbound and gateways
	// NamesProvider tells whether Provider counts; a nil Provider is then one that does not exist, and nothing is reported.
	NamesProvider bool
	Provider      *TraceProvider
	Sampling      *float64 // percent of new traces
	Disabled      *bool    // report no spans; the context travels on
	Tags          []*TraceTag
	NamesTags     bool // Tags replace those before
	UseRequestID  *bool
	// NoContext: the proxy writes no trace headers into requests; those that a request has go on.
	NoContext *bool
	// Envoy: Envoy's own tracer makes the spans; false: Mizzen's filter does.
	Envoy *bool
}

// TraceTag is one custom tag; exactly one of the sources is set.
type TraceTag struct {
	Name                                string
	Literal, Environment, Header, Value string // Value is in the access log's format
	Default                             string // for Environment and Header
}

// TraceProvider is one tracing provider of MeshConfig, its service resolved.
type TraceProvider struct {
	Name string
	// Protocol is zipkin, otlp-http, otlp-grpc, skywalking or datadog.
	Protocol string
	Hostname string // FQDN of the service
	Port     uint32
	Path     string        // "" is the protocol's own
	Timeout  time.Duration // 0: the exporter's own
	Headers  []TraceHeader // sent along with spans: by Envoy's own tracer only
	// MaxTagLength bounds the path in a span, in bytes; 0: 256.
	MaxTagLength uint32
	Token        string // skywalking's access token
	// Detectors add attributes to what OpenTelemetry calls the resource: "environment" (OTEL_RESOURCE_ATTRIBUTES of the proxy), "dynatrace".
	Detectors []string
	// W3C makes Envoy's Zipkin tracer read and write traceparent beside B3.
	W3C    bool
	Origin Origin
}

// TraceHeader is a header of the call that brings spans.
type TraceHeader struct{ Name, Value string }

// EnvoyOnly tells whether Mizzen's filter cannot bring spans there, and why.
func (p *TraceProvider) EnvoyOnly() (why string, only bool) {
	switch {
	case p.Protocol == "otlp-grpc":
		return "OTLP over gRPC", true
	case p.Protocol == "skywalking" || p.Protocol == "datadog":
		return "its protocol is " + p.Protocol, true
	case len(p.Headers) > 0:
		return "headers for the collector", true
	case len(p.Detectors) > 0:
		return "resource detectors", true
	}
	return "", false
}

// Tracer is Envoy's own tracer in a listener: HttpConnectionManager.tracing.
type Tracer struct {
	Provider     *TraceProvider
	Cluster      string  // of the provider
	Service      string  // names the proxy's workload, where the tracer takes it from its configuration
	Instance     string  // names the proxy itself, where a tracer tells that
	Sampling     float64 // percent of new traces
	Tags         []*TraceTag
	UseRequestID bool
	NoContext    bool // see TraceRule
}
