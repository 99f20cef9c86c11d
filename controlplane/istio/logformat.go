package istio

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio/cel"
	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// takes says what may follow a command of Envoy's access log format.
type takes uint8

const (
	nothing      takes = 0
	wantsParams  takes = 1 << iota // (PARAMETERS), always
	allowsParams                   // (PARAMETERS), perhaps
	allowsLength                   // :LENGTH
)

// logCommands are those of Envoy 1.39, with Istio's REQ_WITHOUT_QUERY.
func logCommands() map[string]takes {
	out := map[string]takes{}
	add := func(t takes, names string) {
		for _, n := range strings.Fields(names) {
			out[n] = t
		}
	}
	add(wantsParams|allowsLength, "REQ RESP TRAILER REQUEST_HEADER RESPONSE_HEADER RESPONSE_TRAILER REQ_WITHOUT_QUERY DYNAMIC_METADATA ENVIRONMENT "+
		"QUERY_PARAM CEL TYPED_CEL METADATA COALESCE")
	add(wantsParams, "CLUSTER_METADATA UPSTREAM_METADATA COMMON_DURATION")
	add(allowsParams|allowsLength, "FILTER_STATE UPSTREAM_FILTER_STATE QUERY_PARAMS PATH")
	add(allowsParams, "START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL GRPC_STATUS REQUESTED_SERVER_NAME RESPONSE_CODE_DETAILS "+
		"DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_CERT_V_END "+
		"UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT "+
		"DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT")
	add(nothing, "REQUEST_DURATION REQUEST_TX_DURATION RESPONSE_DURATION RESPONSE_TX_DURATION DOWNSTREAM_HANDSHAKE_DURATION ROUNDTRIP_DURATION "+
		"DURATION UPSTREAM_CONNECTION_POOL_READY_DURATION BYTES_RECEIVED BYTES_SENT BYTES_RETRANSMITTED PACKETS_RETRANSMITTED")
	for _, side := range []string{"UPSTREAM", "DOWNSTREAM"} {
		for _, what := range []string{"WIRE", "HEADER", "DECOMPRESSED_HEADER"} {
			add(nothing, side+"_"+what+"_BYTES_RECEIVED "+side+"_"+what+"_BYTES_SENT")
		}
		for _, end := range []string{"PEER", "LOCAL"} {
			add(nothing, side+"_"+end+"_URI_SAN "+side+"_"+end+"_DNS_SAN "+side+"_"+end+"_IP_SAN")
		}
		add(nothing, side+"_TLS_CIPHER "+side+"_TLS_GROUP "+side+"_TLS_VERSION "+side+"_TLS_SESSION_ID "+side+"_PEER_ISSUER "+side+"_PEER_CERT "+
			side+"_PEER_SUBJECT "+side+"_TRANSPORT_FAILURE_REASON "+side+"_LOCAL_CLOSE_REASON "+side+"_DETECTED_CLOSE_TYPE "+side+"_LOCAL_ADDRESS")
	}
	add(nothing, "PROTOCOL UPSTREAM_PROTOCOL RESPONSE_CODE CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS RESPONSE_FLAGS RESPONSE_FLAGS_LONG "+
		"UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_HOST UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT "+
		"UPSTREAM_HOST_NAMES_ATTEMPTED UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT UPSTREAM_CONNECTION_ID UPSTREAM_CONNECTION_IDS_ATTEMPTED "+
		"UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_LOCAL_PORT UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_PORT UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID "+
		"UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_SERVER_NAME DOWNSTREAM_DIRECT_LOCAL_ADDRESS DOWNSTREAM_LOCAL_PORT DOWNSTREAM_DIRECT_LOCAL_PORT "+
		"DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_PORT "+
		"DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_PORT CONNECTION_ID ROUTE_NAME DOWNSTREAM_PEER_EMAIL_SAN "+
		"DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_SUBJECT "+
		"DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 "+
		"DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_SERIAL "+
		"HOSTNAME FILTER_CHAIN_NAME VIRTUAL_CLUSTER_NAME TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT UNIQUE_ID STREAM_ID LOCAL_REPLY_BODY "+
		"ACCESS_LOG_TYPE GRPC_STATUS_NUMBER REQUEST_HEADERS_BYTES RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES TRACE_ID SPAN_ID")
	return out
}

// logFormat says what Envoy would refuse in a format of its access log; "" if nothing. A format that it refuses costs the proxy its
// whole listener.
func logFormat(format string) (message, fix string) {
	command := regexp.MustCompile(`^%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%`)
	commands := logCommands()
	for rest := format; ; {
		i := strings.IndexByte(rest, '%')
		if i < 0 {
			return "", ""
		}
		if rest = rest[i:]; strings.HasPrefix(rest, "%%") {
			rest = rest[2:]
			continue
		}
		m := command.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Sprintf("%.20q is no command of Envoy's access log", rest), "write %NAME%, %NAME(PARAMETERS)%, or %% for a percent sign"
		}
		if message, fix := logCommand(commands, m[1], m[2], m[3] != ""); message != "" {
			return message, fix
		}
		rest = rest[len(m[0]):]
	}
}

func logCommand(commands map[string]takes, name, params string, length bool) (message, fix string) {
	t, ok := commands[name]
	switch {
	case !ok:
		if near := nearest.Of(name, slices.Sorted(maps.Keys(commands))); near != "" {
			fix = "did you mean %" + near + "%?"
		}
		return fmt.Sprintf("Envoy's access log has no command %%%s%%", name), fix
	case t&wantsParams != 0 && params == "":
		return fmt.Sprintf("%%%s%% wants parameters", name), "write for example %REQ(USER-AGENT)%"
	case t&(wantsParams|allowsParams) == 0 && params != "":
		return fmt.Sprintf("%%%s%% takes no parameters", name), ""
	case t&allowsLength == 0 && length:
		return fmt.Sprintf("%%%s%% takes no length", name), ""
	}
	return logParams(name, params)
}

// logParams checks the parameters of those commands that are particular about them.
func logParams(name, params string) (message, fix string) {
	parts := strings.Split(params, ":")
	oneOf := func(s, all string) bool { return slices.Contains(strings.Fields(all), s) }
	bad := func(want string) (string, string) {
		return fmt.Sprintf("%%%s(%s)%%: wrong parameters", name, params), want
	}
	switch name {
	case "REQ", "RESP", "TRAILER", "REQUEST_HEADER", "RESPONSE_HEADER", "RESPONSE_TRAILER", "REQ_WITHOUT_QUERY":
		first, second, _ := strings.Cut(params, "?")
		if ok := func(h string) bool { return h == "" || headerName(strings.TrimPrefix(h, ":")) }; first == "" || !ok(first) || !ok(second) {
			return bad("write a header's name, or NAME?ANOTHER")
		}
	case "CEL", "TYPED_CEL":
		if err := cel.Value(params); err != nil {
			return fmt.Sprintf("%%%s(%s)%%: %v", name, params, err), err.Fix
		}
	case "FILTER_STATE", "UPSTREAM_FILTER_STATE":
		if params == "" || parts[0] == "" || len(parts) == 2 && !oneOf(parts[1], "PLAIN TYPED") || len(parts) == 3 && (parts[1] != "FIELD" || parts[2] == "") || len(parts) > 3 {
			return bad("write KEY, KEY:PLAIN, KEY:TYPED or KEY:FIELD:NAME")
		}
	case "METADATA":
		if !oneOf(parts[0], "DYNAMIC CLUSTER ROUTE UPSTREAM_HOST LISTENER VIRTUAL_HOST LISTENER_FILTER_CHAIN") {
			return bad("write DYNAMIC, CLUSTER, ROUTE, UPSTREAM_HOST, LISTENER or VIRTUAL_HOST first, as in %METADATA(ROUTE:istio:config)%")
		}
	case "GRPC_STATUS":
		if params != "" && !oneOf(params, "CAMEL_STRING SNAKE_STRING NUMBER") {
			return bad("write CAMEL_STRING, SNAKE_STRING or NUMBER")
		}
	case "PATH":
		if params != "" && (!oneOf(parts[0], "WQ NQ") || len(parts) > 2 || len(parts) == 2 && !oneOf(parts[1], "ORIG PATH ORIG_OR_PATH")) {
			return bad("write WQ or NQ, and perhaps :ORIG, :PATH or :ORIG_OR_PATH")
		}
	case "REQUESTED_SERVER_NAME":
		if params != "" && (!oneOf(parts[0], "SNI_ONLY SNI_FIRST HOST_FIRST") || len(parts) > 2 || len(parts) == 2 && !oneOf(parts[1], "ORIG_OR_HOST HOST ORIG")) {
			return bad("write SNI_ONLY, SNI_FIRST or HOST_FIRST, and perhaps :ORIG_OR_HOST, :HOST or :ORIG")
		}
	case "QUERY_PARAMS":
		if params != "" && !oneOf(params, "ORIG DECODED") {
			return bad("write ORIG or DECODED")
		}
	case "COALESCE", "COMMON_DURATION":
		if params != "" {
			return fmt.Sprintf("%%%s(%s)%%: Mizzen does not check these parameters, and Envoy refuses a whole listener for a wrong one", name, params),
				"write a command that it knows, such as %DURATION% or %REQ(:PATH)%"
		}
	}
	return "", ""
}

// logFormats checks the formats in the values of an object, of any depth.
func (v *validator) logFormats(path string, value any) {
	switch value := value.(type) {
	case string:
		v.logFormat(path, value)
	case map[string]any:
		for _, key := range sortedKeys(value) {
			v.logFormats(join(path, key), value[key])
		}
	case []any:
		for i, item := range value {
			v.logFormats(index(path, i), item)
		}
	}
}

func (v *validator) logFormat(path, format string) {
	if message, fix := logFormat(format); message != "" {
		v.fail(path, message, fix)
	}
}
