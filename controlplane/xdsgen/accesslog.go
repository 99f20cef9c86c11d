package xdsgen

import (
	"fmt"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	celfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	grpclogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	withoutqueryv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/req_without_query/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// accessLogFormat is Istio's default text format, column for column, and two more: the canary's decision, RULE/SIDE or -, and
// the flags of Mizzen's policies (DI delayed, FI aborted, RL rate limited), which Envoy keeps apart from %RESPONSE_FLAGS%
// where a dynamic module sets them ("" if none).
const accessLogFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% ` +
	`%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" ` +
	`%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" ` +
	`"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% ` +
	`%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME% ` +
	`"%DYNAMIC_METADATA(mizzen:canary)%" "%CUSTOM_FLAGS%"`

// accessLogObject is Istio's default JSON format, and Mizzen's two more.
const accessLogObject = `{"start_time":"%START_TIME%","method":"%REQ(:METHOD)%","path":"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",` +
	`"protocol":"%PROTOCOL%","response_code":"%RESPONSE_CODE%","response_flags":"%RESPONSE_FLAGS%",` +
	`"response_code_details":"%RESPONSE_CODE_DETAILS%","connection_termination_details":"%CONNECTION_TERMINATION_DETAILS%",` +
	`"upstream_transport_failure_reason":"%UPSTREAM_TRANSPORT_FAILURE_REASON%","bytes_received":"%BYTES_RECEIVED%",` +
	`"bytes_sent":"%BYTES_SENT%","duration":"%DURATION%","upstream_service_time":"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",` +
	`"x_forwarded_for":"%REQ(X-FORWARDED-FOR)%","user_agent":"%REQ(USER-AGENT)%","request_id":"%REQ(X-REQUEST-ID)%",` +
	`"authority":"%REQ(:AUTHORITY)%","upstream_host":"%UPSTREAM_HOST%","upstream_cluster":"%UPSTREAM_CLUSTER_RAW%",` +
	`"upstream_local_address":"%UPSTREAM_LOCAL_ADDRESS%","downstream_local_address":"%DOWNSTREAM_LOCAL_ADDRESS%",` +
	`"downstream_remote_address":"%DOWNSTREAM_REMOTE_ADDRESS%","requested_server_name":"%REQUESTED_SERVER_NAME%",` +
	`"route_name":"%ROUTE_NAME%","canary":"%DYNAMIC_METADATA(mizzen:canary)%","custom_flags":"%CUSTOM_FLAGS%"}`

// wasmLog says where a wasm filter, which can write neither dynamic metadata nor flags, leaves the same.
var wasmLog = []string{
	"%DYNAMIC_METADATA(mizzen:canary)%", "%FILTER_STATE(wasm.mizzen.canary:PLAIN)%",
	"%CUSTOM_FLAGS%", "%FILTER_STATE(wasm.mizzen.flags:PLAIN)%",
}

// golangLog says where the golang filter, which can set no flags, leaves them.
var golangLog = []string{"%CUSTOM_FLAGS%", "%DYNAMIC_METADATA(mizzen:flags)%"}

// accessLogs are the logs of one chain: of requests, or of connections. The metrics are one of them.
func accessLogs(in listenerInput, requests bool) ([]*accesslogv3.AccessLog, error) {
	var out []*accesslogv3.AccessLog
	for _, l := range in.Listener.Logs {
		if l.Provider.Kind == mesh.LogHTTP && !requests || l.Provider.Kind == mesh.LogTCP && requests {
			continue
		}
		log, err := accessLog(in, l)
		if err != nil {
			return nil, fmt.Errorf("access log %s: %w", l.Provider.Name, err)
		}
		out = append(out, log)
	}
	metrics, err := statsLog(in.Listener.Metrics, requests)
	if metrics != nil {
		out = append(out, metrics)
	}
	return out, err
}

func accessLog(in listenerInput, l *mesh.AccessLog) (*accesslogv3.AccessLog, error) {
	var name string
	var config proto.Message
	switch l.Provider.Kind {
	case mesh.LogHTTP:
		name, config = "envoy.access_loggers.http_grpc", httpService(l)
	case mesh.LogTCP:
		name, config = "envoy.access_loggers.tcp_grpc", &grpclogv3.TcpGrpcAccessLogConfig{CommonConfig: logService(l, "tcp_envoy_accesslog")}
	case mesh.LogOTLP:
		name, config = "envoy.access_loggers.open_telemetry", otlpLog(l)
	default:
		name, config = "envoy.access_loggers.file", fileLog(in, l.Provider)
	}
	packed, err := toAny(config)
	if err != nil {
		return nil, err
	}
	out := &accesslogv3.AccessLog{Name: name, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: packed}}
	out.Filter, err = logFilter(l.Filter)
	return out, err
}

// logFilter lets only pass what an expression finds true; nil: everything. Users write string(...) and sums of strings, which Envoy
// has only where it is asked for them.
func logFilter(expression string) (*accesslogv3.AccessLogFilter, error) {
	if expression == "" {
		return nil, nil
	}
	config, err := toAny(&celfilterv3.ExpressionFilter{
		Expression: expression, CelConfig: &corev3.CelExpressionConfig{EnableStringConversion: true, EnableStringConcat: true, EnableStringFunctions: true},
	})
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{ExtensionFilter: &accesslogv3.ExtensionFilter{
		Name: "envoy.access_loggers.extension_filters.cel", ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: config},
	}}}, err
}

func fileLog(in listenerInput, p *mesh.LogProvider) *filelogv3.FileAccessLog {
	format := p.Format
	switch {
	case format == "" && p.Object:
		format = accessLogObject
	case format == "":
		format = accessLogFormat
	}
	switch in.Host {
	case mesh.HostWasm:
		format = strings.NewReplacer(wasmLog...).Replace(format)
	case mesh.HostGolang:
		format = strings.NewReplacer(golangLog...).Replace(format)
	}
	f := logFormat(format, p.Object)
	f.OmitEmptyValues = p.OmitEmpty
	return &filelogv3.FileAccessLog{Path: p.Path, AccessLogFormat: &filelogv3.FileAccessLog_LogFormat{LogFormat: f}}
}

// logFormat is a line of text, or an object; a format that is no JSON object is a line whatever was asked for.
func logFormat(format string, object bool) *corev3.SubstitutionFormatString {
	out := &corev3.SubstitutionFormatString{}
	if strings.Contains(format, "%REQ_WITHOUT_QUERY(") {
		out.Formatters = withoutQuery()
	}
	if object {
		fields := &structpb.Struct{}
		if fields.UnmarshalJSON([]byte(format)) == nil {
			out.Format = &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: fields}
			return out
		}
	}
	if !strings.HasSuffix(format, "\n") {
		format += "\n"
	}
	out.Format = &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
		Specifier: &corev3.DataSource_InlineString{InlineString: format},
	}}
	return out
}

// withoutQuery is the one command of Istio's documentation that Envoy must be told of: the others are built in.
func withoutQuery() []*corev3.TypedExtensionConfig {
	return []*corev3.TypedExtensionConfig{{Name: "envoy.formatter.req_without_query", TypedConfig: mustAny(&withoutqueryv3.ReqWithoutQuery{})}}
}
