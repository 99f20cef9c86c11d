package fault

import (
	"strconv"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// The request headers of Envoy's fault filter, obeyed where Config.AllowHeaders is set.
const (
	headerDelayName       = "x-envoy-fault-delay-request" // milliseconds
	headerDelayPercentage = "x-envoy-fault-delay-request-percentage"
	headerAbortName       = "x-envoy-fault-abort-request" // HTTP status
	headerAbortGRPCName   = "x-envoy-fault-abort-grpc-request"
	headerAbortPercentage = "x-envoy-fault-abort-request-percentage"
)

// ThroughputHeader tells Envoy's fault filter how fast the response's body may flow, in KiB/s. No host lets a policy
// send a body piece by piece, so the policy sets this header of the request and Envoy's filter, right behind ours with
// response_rate_limit {header_limit: {}, percentage: 100 %}, obeys it; the route configuration keeps it from upstreams
// (request_headers_to_remove). A value that the client sent is removed, or, with Config.AllowHeaders, taken for a wish.
const ThroughputHeader = "x-envoy-fault-throughput-response"

// headerRatePercentage would be obeyed by Envoy's filter too: the policy has drawn already, so it never passes.
const headerRatePercentage = ThroughputHeader + "-percentage"

// headerRate reads the response rate that a request asks for, in KiB/s.
func headerRate(h *filter.Headers) (uint64, bool) {
	v, ok := h.Get(ThroughputHeader)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 10, 64)
	return min(n, MaxRate), err == nil && n > 0
}

// headerDelay reads the delay that a request asks for.
func headerDelay(h *filter.Headers) (time.Duration, bool) {
	v, ok := h.Get(headerDelayName)
	if !ok {
		return 0, false
	}
	ms, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}

// headerAbort makes the reply that a request asks for, nil if it asks for none. Invalid statuses are ignored, and an
// HTTP status goes before a gRPC status, as in Envoy.
func headerAbort(h *filter.Headers) *filter.Reply {
	if v, ok := h.Get(headerAbortName); ok {
		if n, err := strconv.Atoi(v); err == nil && validHTTP(n) {
			return newReply(n, nil)
		}
	}
	if v, ok := h.Get(headerAbortGRPCName); ok {
		if n, err := strconv.Atoi(v); err == nil && validGRPC(n) {
			return newReply(0, &n)
		}
	}
	return nil
}

// headerPercentage reads a percentage header (a number of percent), which can only lower limit.
func headerPercentage(h *filter.Headers, name string, limit filter.Percent) filter.Percent {
	v, ok := h.Get(name)
	if !ok {
		return limit
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || !(n >= 0) {
		return limit
	}
	return min(limit, filter.PercentOf(min(n, 100)))
}

func validHTTP(n int) bool { return n >= 200 && n <= 599 }

func validGRPC(n int) bool { return n >= 0 && n < len(grpcToHTTP) }

// grpcToHTTP is the HTTP status for each gRPC status, for callers that do not speak gRPC (google.rpc.Code).
var grpcToHTTP = [...]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}

// abortDetails is the response code detail of every abort.
const abortDetails = "mizzen_fault_abort"

// newReply makes the local reply; grpc, if non-nil, decides the HTTP status. The body is that of Envoy's filter.
func newReply(http int, grpc *int) *filter.Reply {
	if grpc != nil {
		http = grpcToHTTP[*grpc]
	}
	return &filter.Reply{Status: http, GRPCStatus: grpc, Body: "fault filter abort", Details: abortDetails, Flag: "FI"}
}
