// Package filter is the contract between Mizzen's data-plane policies and the hosts that run them (an Envoy dynamic
// module, a contrib golang filter, a proxy-wasm VM, a test). Policies decide; hosts act. Standard library only.
package filter

import "time"

// A Policy decides one exchange. It never blocks, starts goroutines or reads the clock: all it may use is in x.
// One Policy value serves every worker of an Envoy at once: it is immutable, or guards its state itself.
type Policy interface {
	// Request decides on the request's headers. It is called once per exchange; after a Wait or a Call it is called
	// again with x.Resumed() true.
	Request(x *Exchange) Verdict
	// Response decides on the response's headers (x.Response is then non-nil). Local replies pass through it too. It
	// may reply and wait; Call and Reroute have no effect there.
	Response(x *Exchange) Verdict
}

// Ender is a Policy that must know when an exchange is over, for example to give back a place that it holds. End is
// called once for each exchange whose Request was called and did not end in Exchange.Done: after the response, or when the client has gone away, also
// during a Wait. Header edits have no effect any more; x.State still holds what the policy kept.
type Ender interface {
	End(x *Exchange)
}

// Heir is a policy that, configured for a route, takes what it does not say from the listener's policy of its kind. Others
// replace it whole.
type Heir interface {
	// Inherit returns the policy to run; it is asked for every exchange, by several workers at once.
	Inherit(from Policy) Policy
}

// Verdict is what a policy wants done. The zero Verdict means: go on.
type Verdict struct {
	// Reply ends the exchange here with a local reply; nil goes on.
	Reply *Reply
	// Wait suspends the stream, then resumes the chain at the same policy with x.Resumed() true. Zero or less: no wait.
	Wait time.Duration
	// Call asks an upstream cluster, then resumes the chain at the same policy with x.Answer set. Nil: no call.
	Call *Call
	// Reroute says that header edits may have changed the route: the host writes the edits, clears Envoy's route
	// cache, and continues with the new route's configuration.
	Reroute bool
}

// Reply is a local reply.
type Reply struct {
	// Status is the HTTP status, 200-599. For a gRPC request the host answers HTTP 200 with GRPCStatus instead.
	Status int
	// GRPCStatus is the grpc-status code; nil lets the host (Envoy) map Status for gRPC requests.
	GRPCStatus *int
	// Headers are added to the reply. Names are lower case.
	Headers []Header
	Body    string
	// Details is Envoy's response code detail, e.g. "mizzen_fault_abort": lower case, no blanks.
	Details string
	// Flag is an access-log response flag, e.g. "FI"; "" sets none.
	Flag string
	// Reset ends the exchange without any answer: the client sees its HTTP/2 stream reset, or its HTTP/1 connection closed.
	// Of the other fields only Details and Flag count, and no policy's Response is asked. Only where Env.Resets says so.
	Reset bool
}

// GRPCCode is the grpc-status that a gRPC client gets: GRPCStatus, or what Envoy makes of Status
// (Grpc::Utility::httpToGrpcStatus). For hosts that cannot leave the mapping to Envoy.
func (r *Reply) GRPCCode() int {
	if r.GRPCStatus != nil {
		return *r.GRPCStatus
	}
	switch r.Status {
	case 400:
		return 13 // INTERNAL
	case 401:
		return 16 // UNAUTHENTICATED
	case 403:
		return 7 // PERMISSION_DENIED
	case 404:
		return 12 // UNIMPLEMENTED
	case 429, 502, 503, 504:
		return 14 // UNAVAILABLE
	}
	return 2 // UNKNOWN
}

// Call is a request to an upstream cluster on behalf of a policy (the rate-limit service, a collector).
type Call struct {
	Cluster string
	Headers []Header // must hold :method, :path and host
	Body    []byte
	Timeout time.Duration
}

// Answer is what came back from a Call. Err is non-empty if nothing did ("reset", "timeout", "no such cluster").
type Answer struct {
	Headers []Header
	Body    []byte
	Err     string
}

// Metric names one counter or gauge with its labels. Policies declare theirs as package-level constants-in-spirit
// (never changed after start) and list them in their Kind, because Envoy fixes metrics when a filter is configured.
type Metric struct {
	Name   string // e.g. "canary_decisions_total"; the host adds its own prefix
	Help   string
	Labels []string
	Gauge  bool
}

// Kind describes one policy to the registry: its name in configuration, and how to make it.
type Kind struct {
	Name string
	// Reason says why it stands where it stands in the chain.
	Reason string
	// New parses its configuration (JSON, strict: an unknown field is an error) and makes the policy.
	New func(raw []byte, env *Env) (Policy, error)
	// Metrics lists every metric the policy may touch.
	Metrics []*Metric
}

// Env is what a policy may use when it is made.
type Env struct {
	// Shared returns the value kept under key in this process, making it on first use. The value lives as long as
	// anybody refers to it, so that limits and budgets survive an update of configuration: a new Policy is made
	// before the old one is dropped. Safe for concurrent use. Never nil.
	Shared func(key string, make func() any) any
	// Sends says that the host makes the calls of policies' outboxes (Sender). Where it does not, a policy whose
	// configuration needs one must refuse it, with the reason. The zero value is: it does not.
	Sends bool
	// Spans says that the host tells the span of Envoy's own tracer: SpanTraceID and SpanID. The zero value is: it
	// does not.
	Spans bool
	// Resets says that the host does what Reply.Reset says. The zero value is: it does not.
	Resets bool
}
