package xdsgen

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	typedv3 "github.com/cncf/xds/go/xds/type/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	grpclogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// otlpLogType is Envoy's message for logs to OpenTelemetry. It is written as a TypedStruct, for its Go type would bring
// OpenTelemetry's own along.
const otlpLogType = "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"

// logService is Envoy's access log service.
func logService(l *mesh.AccessLog, name string) *grpclogv3.CommonGrpcAccessLogConfig {
	p := l.Provider
	return &grpclogv3.CommonGrpcAccessLogConfig{
		LogName: cmp.Or(p.LogName, name), TransportApiVersion: corev3.ApiVersion_V3, FilterStateObjectsToLog: p.FilterState,
		GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: l.Cluster, Authority: p.Hostname},
		}},
	}
}

func httpService(l *mesh.AccessLog) *grpclogv3.HttpGrpcAccessLogConfig {
	p := l.Provider
	return &grpclogv3.HttpGrpcAccessLogConfig{
		CommonConfig:                    logService(l, "http_envoy_accesslog"),
		AdditionalRequestHeadersToLog:   p.RequestHeaders,
		AdditionalResponseHeadersToLog:  p.ResponseHeaders,
		AdditionalResponseTrailersToLog: p.ResponseTrailers,
	}
}

// otlpLog sends OpenTelemetry's records. The record's body is the line, and its attributes are formats by name; Envoy's own attributes
// (its node, its log's name) are left out, as in Istio.
func otlpLog(l *mesh.AccessLog) *typedv3.TypedStruct {
	p := l.Provider
	text := func(s string) map[string]any { return map[string]any{"string_value": s} }
	config := map[string]any{
		"log_name": cmp.Or(p.LogName, "otel_envoy_accesslog"), "disable_builtin_labels": true,
		"grpc_service": map[string]any{"envoy_grpc": map[string]any{"cluster_name": l.Cluster, "authority": p.Hostname}},
	}
	if p.Format != "" {
		config["body"] = text(p.Format)
	}
	if attributes := otlpAttributes(p.Attributes); len(attributes) > 0 {
		config["attributes"] = map[string]any{"values": attributes}
	}
	fields, err := structpb.NewStruct(config)
	if err != nil {
		fields = &structpb.Struct{} // a name that is not UTF-8, which compile does not let pass
	}
	return &typedv3.TypedStruct{TypeUrl: otlpLogType, Value: fields}
}

// otlpAttributes are the members of a JSON object as OpenTelemetry's key-value list, sorted.
func otlpAttributes(object string) []any {
	var fields map[string]any
	if json.Unmarshal([]byte(object), &fields) != nil {
		return nil
	}
	return keyValues(fields)
}

func keyValues(fields map[string]any) []any {
	var out []any
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		out = append(out, map[string]any{"key": key, "value": anyValue(fields[key])})
	}
	return out
}

// anyValue is one of OpenTelemetry's values. Envoy wants formats, which are strings, in lists and maps of any depth.
func anyValue(v any) map[string]any {
	switch v := v.(type) {
	case string:
		return map[string]any{"string_value": v}
	case map[string]any:
		return map[string]any{"kvlist_value": map[string]any{"values": keyValues(v)}}
	case []any:
		values := []any{}
		for _, item := range v {
			values = append(values, anyValue(item))
		}
		return map[string]any{"array_value": map[string]any{"values": values}}
	}
	raw, _ := json.Marshal(v)
	return map[string]any{"string_value": string(raw)}
}
