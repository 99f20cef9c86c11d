package istio

const (
	noLightstep   = "Envoy's tracer for Lightstep is gone; its collectors take OTLP: write opentelemetry"
	noOpenCensus  = "OpenCensus has ended and Envoy's tracer for it is gone; its agents take OTLP: write opentelemetry"
	noStackdriver = "it needs Envoy's OpenCensus tracer, which is gone; Google's collector takes OTLP: write opentelemetry, and for logs envoyOtelAls"
)

// telemetryRules is the support table of Telemetry and of MeshConfig's extension providers.
func telemetryRules() []supportRule {
	return append(envoyFilterRules(), []supportRule{
		yes("telemetry.Telemetry", "selector targetRef targetRefs tracing metrics accessLogging"),
		yes("telemetry.Metrics", "providers overrides"),
		idle("telemetry.Metrics", "reportingInterval", "a connection is counted when it has ended: Envoy would write a line of every access log at each interval, too"),
		yes("telemetry.MetricsOverrides", "match disabled tagOverrides"),
		yes("telemetry.MetricSelector", "metric customMetric mode"),
		yes("telemetry.MetricsOverrides.TagOverride", "operation value"),
		yes("telemetry.AccessLogging", "match providers disabled filter"),
		yes("telemetry.AccessLogging.LogSelector", "mode"),
		yes("telemetry.AccessLogging.Filter", "expression"),
		yes("telemetry.Tracing", "match providers randomSamplingPercentage disableSpanReporting customTags useRequestIdForTraceSampling disableContextPropagation"),
		idle("telemetry.Tracing", "enableIstioTags", "spans carry no tags of Istio's own"),
		yes("telemetry.Tracing.TracingSelector", "mode"),
		yes("telemetry.ProviderRef", "name"),
		yes("telemetry.Tracing.CustomTag", "literal environment header formatter"),
		yes("telemetry.Tracing.Literal", "value"),
		yes("telemetry.Tracing.Environment", "name defaultValue"),
		yes("telemetry.Tracing.RequestHeader", "name defaultValue"),
		yes("telemetry.Tracing.Formatter", "value"),

		yes("Tracing.Zipkin", "address"),
		yes("MeshConfig.ExtensionProvider", "name zipkin opentelemetry envoyFileAccessLog envoyHttpAls envoyTcpAls envoyOtelAls prometheus skywalking datadog"),
		idle("MeshConfig.ExtensionProvider", "lightstep", noLightstep),
		idle("MeshConfig.ExtensionProvider", "opencensus", noOpenCensus),
		idle("MeshConfig.ExtensionProvider", "stackdriver", noStackdriver),
		idle("MeshConfig.ExtensionProvider", "sds", "gateways have their certificates from the control plane: write the Secret's name as credentialName"),
		yes("MeshConfig.ExtensionProvider.SkyWalkingTracingProvider", "service port accessToken"),
		yes("MeshConfig.ExtensionProvider.DatadogTracingProvider", "service port maxTagLength"),
		yes("MeshConfig.ExtensionProvider.ZipkinTracingProvider", "service port maxTagLength path traceContextOption timeout headers"),
		idle("MeshConfig.ExtensionProvider.ZipkinTracingProvider", "enable64bitTraceId", "trace ids have 128 bits"),
		yes("MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider", "service port maxTagLength http grpc resourceDetectors"),
		idle("MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider", "serviceAttributeEnrichment", "spans carry service.name, from the label app; write resourceDetectors: {environment: {}} for more"),
		idle("MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider", "dynatraceSampler", "the share of traces is randomSamplingPercentage's, which Telemetry sets: no sampler asks Dynatrace"),
		yes("MeshConfig.ExtensionProvider.ResourceDetectors", "environment dynatrace"),
		yes("MeshConfig.ExtensionProvider.HttpService", "path timeout headers"),
		yes("MeshConfig.ExtensionProvider.GrpcService", "timeout initialMetadata"),
		yes("MeshConfig.ExtensionProvider.HttpHeader", "name value"),
		idle("MeshConfig.ExtensionProvider.HttpHeader", "envName", "it would be a variable of the control plane's own process, the same for every mesh that it serves: write value"),
		yes("MeshConfig.ExtensionProvider.EnvoyFileAccessLogProvider", "path logFormat omitEmptyValues"),
		yes("MeshConfig.ExtensionProvider.EnvoyFileAccessLogProvider.LogFormat", "text labels"),
		yes("MeshConfig.ExtensionProvider.EnvoyHttpGrpcV3LogProvider", "service port logName filterStateObjectsToLog additionalRequestHeadersToLog additionalResponseHeadersToLog additionalResponseTrailersToLog"),
		yes("MeshConfig.ExtensionProvider.EnvoyTcpGrpcV3LogProvider", "service port logName filterStateObjectsToLog"),
		yes("MeshConfig.ExtensionProvider.EnvoyOpenTelemetryLogProvider", "service port logName logFormat"),
		yes("MeshConfig.ExtensionProvider.EnvoyOpenTelemetryLogProvider.LogFormat", "text labels"),
		yes("MeshConfig.DefaultProviders", "tracing metrics accessLogging"),
	}...)
}
