package istio

const (
	otherTracer = notYet + "tracing providers are zipkin and opentelemetry"
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
		yes("telemetry.Tracing", "match providers randomSamplingPercentage disableSpanReporting customTags useRequestIdForTraceSampling"),
		idle("telemetry.Tracing", "enableIstioTags", "spans carry no tags of Istio's own"),
		no("telemetry.Tracing", "disableContextPropagation", notYet+"trace headers would go on all the same"),
		yes("telemetry.Tracing.TracingSelector", "mode"),
		yes("telemetry.ProviderRef", "name"),
		yes("telemetry.Tracing.CustomTag", "literal environment header formatter"),
		yes("telemetry.Tracing.Literal", "value"),
		yes("telemetry.Tracing.Environment", "name defaultValue"),
		yes("telemetry.Tracing.RequestHeader", "name defaultValue"),
		yes("telemetry.Tracing.Formatter", "value"),

		yes("Tracing.Zipkin", "address"),
		yes("MeshConfig.ExtensionProvider", "name zipkin opentelemetry envoyFileAccessLog envoyHttpAls envoyTcpAls envoyOtelAls prometheus"),
		idle("MeshConfig.ExtensionProvider", "*", otherTracer),
		yes("MeshConfig.ExtensionProvider.ZipkinTracingProvider", "service port maxTagLength path traceContextOption timeout"),
		idle("MeshConfig.ExtensionProvider.ZipkinTracingProvider", "enable64bitTraceId", "trace ids have 128 bits"),
		idle("MeshConfig.ExtensionProvider.ZipkinTracingProvider", "headers", notYet+"spans go out without headers of yours"),
		yes("MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider", "service port maxTagLength http grpc"),
		idle("MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider", "*", notYet+"resource attributes and samplers are as Mizzen and Envoy have them"),
		yes("MeshConfig.ExtensionProvider.HttpService", "path timeout headers"),
		yes("MeshConfig.ExtensionProvider.GrpcService", "timeout initialMetadata"),
		yes("MeshConfig.ExtensionProvider.HttpHeader", "name value"),
		idle("MeshConfig.ExtensionProvider.HttpHeader", "envName", notYet+"write value"),
		yes("MeshConfig.ExtensionProvider.EnvoyFileAccessLogProvider", "path logFormat omitEmptyValues"),
		yes("MeshConfig.ExtensionProvider.EnvoyFileAccessLogProvider.LogFormat", "text labels"),
		yes("MeshConfig.ExtensionProvider.EnvoyHttpGrpcV3LogProvider", "service port logName filterStateObjectsToLog additionalRequestHeadersToLog additionalResponseHeadersToLog additionalResponseTrailersToLog"),
		yes("MeshConfig.ExtensionProvider.EnvoyTcpGrpcV3LogProvider", "service port logName filterStateObjectsToLog"),
		yes("MeshConfig.ExtensionProvider.EnvoyOpenTelemetryLogProvider", "service port logName logFormat"),
		yes("MeshConfig.ExtensionProvider.EnvoyOpenTelemetryLogProvider.LogFormat", "text labels"),
		yes("MeshConfig.DefaultProviders", "tracing metrics accessLogging"),
	}...)
}
