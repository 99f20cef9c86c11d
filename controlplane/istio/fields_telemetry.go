package istio

const (
	issueFive   = notYet + "metrics and access logs come as MeshConfig and the stats page have them"
	otherTracer = notYet + "tracing providers are zipkin and opentelemetry"
)

// telemetryRules is the support table of Telemetry and of MeshConfig's extension providers.
func telemetryRules() []supportRule {
	return append(envoyFilterRules(), []supportRule{
		yes("telemetry.Telemetry", "selector tracing"),
		no("telemetry.Telemetry", "targetRef targetRefs", notYet+"it applies by namespace and selector"),
		idle("telemetry.Telemetry", "metrics accessLogging", issueFive),
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
		yes("MeshConfig.ExtensionProvider", "name zipkin opentelemetry"),
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
		yes("MeshConfig.DefaultProviders", "tracing"),
		idle("MeshConfig.DefaultProviders", "metrics accessLogging", issueFive),
	}...)
}
