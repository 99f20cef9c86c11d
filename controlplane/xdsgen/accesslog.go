package xdsgen

import (
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
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

// accessLog writes to the mesh's file; nil if it has none.
func accessLog(in listenerInput) ([]*accesslogv3.AccessLog, error) {
	if in.AccessLogFile == "" {
		return nil, nil
	}
	format := in.AccessLogFormat
	switch {
	case format == "" && in.AccessLogJSON:
		format = accessLogObject
	case format == "":
		format = accessLogFormat
	}
	if in.Host == mesh.HostWasm {
		format = strings.NewReplacer(wasmLog...).Replace(format)
	}
	config, err := toAny(&filelogv3.FileAccessLog{
		Path:            in.AccessLogFile,
		AccessLogFormat: &filelogv3.FileAccessLog_LogFormat{LogFormat: logFormat(format, in.AccessLogJSON)},
	})
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.file", ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config},
	}}, nil
}

// logFormat is a line of text, or an object; a format that is no JSON object is a line whatever was asked for.
func logFormat(format string, object bool) *corev3.SubstitutionFormatString {
	if object {
		fields := &structpb.Struct{}
		if fields.UnmarshalJSON([]byte(format)) == nil {
			return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: fields}}
		}
	}
	if !strings.HasSuffix(format, "\n") {
		format += "\n"
	}
	return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
		Specifier: &corev3.DataSource_InlineString{InlineString: format},
	}}}
}
