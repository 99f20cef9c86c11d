package wasmtest

import (
	"cmp"
	"slices"
	"time"
)

// HTTPCall is a request that the module sent to a cluster, and that waits for its answer.
type HTTPCall struct {
	Cluster  string
	Headers  Headers
	Body     []byte
	Trailers Headers
	Timeout  time.Duration

	vm       *VM
	id       uint32
	due      time.Time
	response [2]Headers // headers, trailers
	body     []byte
}

// Calls are the HTTP calls that wait for their answer, in the order in which they were made.
func (v *VM) Calls() []*HTTPCall {
	out := make([]*HTTPCall, 0, len(v.calls))
	for _, c := range v.calls {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *HTTPCall) int { return cmp.Compare(a.id, b.id) })
	return out
}

// Respond answers the call. Answering it a second time does nothing.
func (c *HTTPCall) Respond(headers Headers, body []byte, trailers Headers) {
	v := c.vm
	if v.calls[c.id] != c {
		return
	}
	delete(v.calls, c.id)
	c.response, c.body = [2]Headers{headers, trailers}, body
	v.answering = c
	v.call("proxy_on_http_call_response", pluginID, uint64(c.id), uint64(len(headers)), uint64(len(body)), uint64(len(trailers)))
	v.answering = nil
	v.settle()
}

// Fail ends the call without an answer, as a reset or a timeout does.
func (c *HTTPCall) Fail() { c.Respond(nil, nil, nil) }

// overdue is the call whose timeout comes first, nil if none comes until then.
func (v *VM) overdue(until time.Time) *HTTPCall {
	var first *HTTPCall
	for _, c := range v.Calls() {
		if !c.due.After(until) && (first == nil || c.due.Before(first.due)) {
			first = c
		}
	}
	return first
}
