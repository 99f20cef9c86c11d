package xdsgen

import (
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"

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
	if format == "" {
		format = accessLogFormat
	}
	if in.Host == mesh.HostWasm {
		format = strings.NewReplacer(wasmLog...).Replace(format)
	}
	if !strings.HasSuffix(format, "\n") {
		format += "\n"
	}
	config, err := toAny(&filelogv3.FileAccessLog{
		Path: in.AccessLogFile,
		AccessLogFormat: &filelogv3.FileAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: format},
			}},
		}},
	})
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.file", ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config},
	}}, nil
}
