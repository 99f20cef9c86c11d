package filter

import "time"

// Host is what the embedding offers an Exchange beyond headers. Calls are made on the exchange's own thread only.
type Host interface {
	// RouteName is the name of the route selected for the request, "" if it has none.
	RouteName() string
	// SourceAddress is the downstream peer's address (trusted client address) without port, "" if unknown.
	SourceAddress() string
	// Count adds n to a counter (or moves a gauge by n, which may be negative), one label value for each of m.Labels.
	Count(m *Metric, n int64, labels ...string)
	// Annotate puts key=value into the stream's dynamic metadata, namespace "mizzen", for access logs.
	Annotate(key, value string)
	// Flag adds an access-log response flag, e.g. "DI".
	Flag(code string)
}

// Rand is a source of randomness: math/rand/v2's *Rand satisfies it.
type Rand interface{ Uint64() uint64 }

// Exchange is one request and its response as a policy sees it. It is used by one goroutine or thread at a time.
type Exchange struct {
	// Request holds the request's headers, pseudo headers included (":method", ":path", ":authority", ":scheme").
	// Never nil. Edits are written back by the host.
	Request *Headers
	// Response holds the response's headers; nil before Policy.Response.
	Response *Headers
	// Now is the time of the callback, set by the host at each entry into the chain.
	Now time.Time
	// Rand is never nil.
	Rand Rand
	// Host is never nil.
	Host Host
	// Answer is set while a policy is resumed after a Call; nil otherwise.
	Answer *Answer

	run   *Run
	state [MaxPolicies]any
}

// MaxPolicies bounds the chain, so that per-exchange state needs no map.
const MaxPolicies = 8

// Resumed tells a policy that it is called again after its own Wait or Call ended.
func (x *Exchange) Resumed() bool { return x.run != nil && x.run.resumed }

// State returns what the running policy kept with SetState for this exchange, nil if nothing. It lives from the
// policy's Request to its Response.
func (x *Exchange) State() any {
	if x.run == nil {
		return x.state[0]
	}
	return x.state[x.run.pos]
}

// SetState keeps v for the running policy and this exchange.
func (x *Exchange) SetState(v any) {
	if x.run == nil {
		x.state[0] = v
		return
	}
	x.state[x.run.pos] = v
}

// SetOnResponse sets a header of the response when it comes, whoever makes it. A policy that knows at the request what
// it will tell the client needs no Response for it.
func (x *Exchange) SetOnResponse(name, value string) {
	if x.run != nil {
		x.run.later = append(x.run.later, Edit{EditSet, name, value})
	}
}

// Done says that the running policy wants neither Response nor End for this exchange. A policy that calls it in most
// of its exchanges saves the host a crossing for each. It must not return Wait or Call then.
func (x *Exchange) Done() {
	if x.run != nil {
		x.run.entered[x.run.pos] = nil
	}
}
