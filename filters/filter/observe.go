package filter

// Observer sees what the policies of one exchange tell their host, and what they answer, beside the host. It must not
// change anything.
type Observer interface {
	// Annotated is told of Host.Annotate.
	Annotated(key, value string)
	// Flagged is told of Host.Flag, and of the Flag of a Reply.
	Flagged(code string)
	// Replied is told of every Reply that a policy makes; the last one is what the client gets.
	Replied(r *Reply)
}

// Observe lets o see what the policies of this exchange do from now on, until its end. A policy that wants to see all of
// it stands first in the chain. Exchanges that nobody observes pay nothing for it. At most one observer: a later one
// takes the place of the one before.
func (x *Exchange) Observe(o Observer) {
	if w, ok := x.Host.(*observed); ok {
		w.observer = o
		return
	}
	x.Host = &observed{Host: x.Host, observer: o}
}

// observed is a Host with an observer beside it.
type observed struct {
	Host
	observer Observer
}

// Annotate implements Host.
func (w *observed) Annotate(key, value string) {
	w.Host.Annotate(key, value)
	w.observer.Annotated(key, value)
}

// Flag implements Host.
func (w *observed) Flag(code string) {
	w.Host.Flag(code)
	w.observer.Flagged(code)
}

// told tells the observer of a reply.
func (x *Exchange) told(r *Reply) {
	w, ok := x.Host.(*observed)
	if !ok {
		return
	}
	w.observer.Replied(r)
	if r.Flag != "" {
		w.observer.Flagged(r.Flag)
	}
}

// Attribute names what Envoy knows of an exchange beyond headers, as its CEL expressions and %CEL()% do.
type Attribute string

// The attributes that policies ask for.
const (
	// UpstreamAddress is "address:port" of the host that the request went to.
	UpstreamAddress Attribute = "upstream.address"
	// UpstreamCluster is the name of its cluster.
	UpstreamCluster Attribute = "xds.cluster_name"
	// ResponseCode is the HTTP status that the client got, in decimal; "0" if none.
	ResponseCode Attribute = "response.code"
	// ResponseDetails says why the exchange ended as it did, e.g. "via_upstream".
	ResponseDetails Attribute = "response.code_details"
	// GRPCStatus is the number in grpc-status, of the headers or trailers.
	GRPCStatus Attribute = "response.grpc_status"
	// SpanTraceID is the trace id, in hexadecimal, of the span that Envoy's own tracer made for the request, before any
	// filter ran. Not a name of CEL. Only where Env.Spans says so.
	SpanTraceID Attribute = "span.trace_id"
	// SpanID is the id of that span, in hexadecimal; some tracers do not tell it.
	SpanID Attribute = "span.span_id"
)

// Attributes is implemented by a Host that can look attributes up.
type Attributes interface {
	// Attribute returns an attribute as text, "" if it is unknown. Most are known at the end only.
	Attribute(a Attribute) string
}

// Attribute asks the host for an attribute: "" if it cannot tell.
func (x *Exchange) Attribute(a Attribute) string {
	h := x.Host
	if w, ok := h.(*observed); ok {
		h = w.Host
	}
	if h, ok := h.(Attributes); ok {
		return h.Attribute(a)
	}
	return ""
}
