package xdsgen

import (
	"cmp"
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	detectorsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/tracers/opentelemetry/resource_detectors/v3"
	tagv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// traceTimeout bounds the call that brings spans to an OpenTelemetry collector, as in Istio.
const traceTimeout = 10 * time.Second

// setTracer switches Envoy's own tracer on where the listener has one.
func setTracer(out *hcmv3.HttpConnectionManager, t *mesh.Tracer) error {
	if t == nil {
		return nil
	}
	name, config := tracer(t)
	packed, err := toAny(config)
	if err != nil {
		return err
	}
	all := &typev3.Percent{Value: 100}
	out.Tracing = &hcmv3.HttpConnectionManager_Tracing{
		ClientSampling: all, OverallSampling: all, RandomSampling: &typev3.Percent{Value: t.Sampling},
		CustomTags: customTags(t.Tags), NoContextPropagation: t.NoContext,
		Provider: &tracev3.Tracing_Http{Name: name, ConfigType: &tracev3.Tracing_Http_TypedConfig{TypedConfig: packed}},
	}
	if n := t.Provider.MaxTagLength; n > 0 {
		out.Tracing.MaxPathTagLength = wrapperspb.UInt32(n)
	}
	if !t.UseRequestID {
		id, err := toAny(&uuidv3.UuidRequestIdConfig{UseRequestIdForTraceSampling: wrapperspb.Bool(false)})
		if err != nil {
			return err
		}
		out.RequestIdExtension = &hcmv3.RequestIDExtension{TypedConfig: id}
	}
	return nil
}

// tracer is Envoy's extension for the provider's protocol.
func tracer(t *mesh.Tracer) (name string, config proto.Message) {
	switch t.Provider.Protocol {
	case "zipkin":
		return "envoy.tracers.zipkin", zipkinTracer(t)
	case "skywalking":
		return "envoy.tracers.skywalking", skywalkingTracer(t)
	case "datadog":
		return "envoy.tracers.datadog", &tracev3.DatadogConfig{CollectorCluster: t.Cluster, CollectorHostname: t.Provider.Hostname, ServiceName: t.Service}
	}
	return "envoy.tracers.opentelemetry", otlpTracer(t)
}

func skywalkingTracer(t *mesh.Tracer) *tracev3.SkyWalkingConfig {
	out := &tracev3.SkyWalkingConfig{
		GrpcService: &corev3.GrpcService{Timeout: durationpb.New(traceTimeout), TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: t.Cluster, Authority: t.Provider.Hostname},
		}},
		ClientConfig: &tracev3.ClientConfig{ServiceName: t.Service, InstanceName: t.Instance},
	}
	if token := t.Provider.Token; token != "" {
		out.ClientConfig.BackendTokenSpecifier = &tracev3.ClientConfig_BackendToken{BackendToken: token}
	}
	return out
}

// zipkinTracer sends Zipkin's JSON of version 2. The service's name is the node's cluster, which the bootstrap sets.
func zipkinTracer(t *mesh.Tracer) *tracev3.ZipkinConfig {
	out := &tracev3.ZipkinConfig{
		CollectorCluster: t.Cluster, CollectorHostname: t.Provider.Hostname, CollectorEndpoint: cmp.Or(t.Provider.Path, "/api/v2/spans"),
		CollectorEndpointVersion: tracev3.ZipkinConfig_HTTP_JSON, TraceId_128Bit: true, SharedSpanContext: wrapperspb.Bool(false),
	}
	if len(t.Provider.Headers) > 0 {
		out.CollectorService = collectorService(t, "/api/v2/spans")
	}
	if t.Provider.W3C {
		out.TraceContextOption = tracev3.ZipkinConfig_USE_B3_WITH_W3C_PROPAGATION
	}
	return out
}

func otlpTracer(t *mesh.Tracer) *tracev3.OpenTelemetryConfig {
	p, out := t.Provider, &tracev3.OpenTelemetryConfig{ServiceName: t.Service}
	out.ResourceDetectors = detectors(p.Detectors)
	if p.Protocol == "otlp-grpc" {
		var headers []*corev3.HeaderValue
		for _, h := range p.Headers {
			headers = append(headers, &corev3.HeaderValue{Key: h.Name, Value: h.Value})
		}
		out.GrpcService = &corev3.GrpcService{
			Timeout: durationpb.New(cmp.Or(p.Timeout, traceTimeout)), InitialMetadata: headers,
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: t.Cluster, Authority: p.Hostname}},
		}
		return out
	}
	out.HttpService = collectorService(t, "/v1/traces")
	return out
}

// collectorService is the collector as HTTP, with the headers that it wants.
func collectorService(t *mesh.Tracer, path string) *corev3.HttpService {
	p := t.Provider
	out := &corev3.HttpService{HttpUri: &corev3.HttpUri{
		Uri:              fmt.Sprintf("http://%s:%d%s", p.Hostname, p.Port, cmp.Or(p.Path, path)),
		HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: t.Cluster}, Timeout: durationpb.New(cmp.Or(p.Timeout, traceTimeout)),
	}}
	for _, h := range p.Headers {
		out.RequestHeadersToAdd = append(out.RequestHeadersToAdd, &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: h.Name, Value: h.Value}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return out
}

// detectors say more about where spans come from than the service's name.
func detectors(names []string) []*corev3.TypedExtensionConfig {
	var out []*corev3.TypedExtensionConfig
	for _, name := range names {
		var config proto.Message = &detectorsv3.EnvironmentResourceDetectorConfig{}
		if name == "dynatrace" {
			config = &detectorsv3.DynatraceResourceDetectorConfig{}
		}
		out = append(out, &corev3.TypedExtensionConfig{Name: "envoy.tracers.opentelemetry.resource_detectors." + name, TypedConfig: mustAny(config)})
	}
	return out
}

func customTags(in []*mesh.TraceTag) []*tagv3.CustomTag {
	var out []*tagv3.CustomTag
	for _, t := range in {
		tag := &tagv3.CustomTag{Tag: t.Name}
		switch {
		case t.Literal != "":
			tag.Type = &tagv3.CustomTag_Literal_{Literal: &tagv3.CustomTag_Literal{Value: t.Literal}}
		case t.Environment != "":
			tag.Type = &tagv3.CustomTag_Environment_{Environment: &tagv3.CustomTag_Environment{Name: t.Environment, DefaultValue: t.Default}}
		case t.Header != "":
			tag.Type = &tagv3.CustomTag_RequestHeader{RequestHeader: &tagv3.CustomTag_Header{Name: t.Header, DefaultValue: t.Default}}
		default:
			tag.Type = &tagv3.CustomTag_Value{Value: t.Value}
		}
		out = append(out, tag)
	}
	return out
}

// collectors are the clusters that a listener sends spans and log entries to: they must be there before it is.
func collectors(l *mesh.Listener) []string {
	var out []string
	if l.Tracer != nil {
		out = append(out, l.Tracer.Cluster)
	}
	if l.Tracing != nil && l.Tracing.Export != nil {
		out = append(out, l.Tracing.Export.Cluster)
	}
	for _, log := range l.Logs {
		if log.Cluster != "" {
			out = append(out, log.Cluster)
		}
	}
	return out
}
