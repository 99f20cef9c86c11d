package tracing

import "github.com/mizzen-mesh/mizzen/filters/filter"

// room is enough for every format and a request id.
const room = 320

// piece is a part of the text that write makes.
type piece struct{ from, to int }

func (p piece) of(text string) string { return text[p.from:p.to] }

// write writes the context in the formats that are configured, and in those that the request already carries, valid
// or not: what is left alone would contradict. All values are parts of one string.
func (p *Policy) write(x *filter.Exchange, in *seen, sp *span) {
	formats := p.inject
	for c := range codes {
		if in.has&headersOf(c) != 0 {
			formats |= 1 << c
		}
	}
	var buf [room]byte
	var b3, parent, jaeger, ot, id piece
	b := appendTraceparent(buf[:0], sp) // always: the trace id and the span id are parts of it
	if formats>>cB3Multi&1 != 0 && sp.parent != 0 {
		parent.from = len(b)
		b = appendHex(b, sp.parent)
		parent.to = len(b)
	}
	if formats>>cB3&1 != 0 {
		b3.from = len(b)
		b = appendB3(b, sp)
		b3.to = len(b)
	}
	if formats>>cJaeger&1 != 0 {
		jaeger.from = len(b)
		b = appendJaeger(b, sp)
		jaeger.to = len(b)
	}
	if formats>>cOT&1 != 0 {
		ot.from = len(b)
		b = appendOT(b, sp)
		ot.to = len(b)
	}
	if p.requestID && !in.is(fRequestID) {
		id.from = len(b)
		b = appendRequestID(b, x.Rand, reason(sp.decision, in.forced))
		id.to = len(b)
	}
	text := x.Text(b)
	h := x.Request
	if formats>>cW3C&1 != 0 {
		in.put(h, fTraceparent, traceparent, text[:traceparentLen])
	}
	if in.is(fTracestate) {
		in.keepTracestate(h, sp)
	}
	if b3.to != 0 {
		in.put(h, fB3, b3Single, b3.of(text))
	}
	if formats>>cB3Multi&1 != 0 {
		in.putB3Multi(h, sp, text[3:35], text[36:52], parent.of(text))
	}
	if jaeger.to != 0 {
		in.put(h, fJaeger, uberTraceID, jaeger.of(text))
	}
	if ot.to != 0 {
		in.put(h, fOT, otContext, ot.of(text))
	}
	if id.to != 0 {
		h.Add(requestID, id.of(text))
	}
	if p.annotate {
		x.Host.Annotate("trace_id", text[3:35])
	}
}

// put writes a header unless it already says so.
func (s *seen) put(h *filter.Headers, f field, name, value string) {
	switch {
	case s.many>>f&1 != 0:
		h.Set(name, value)
	case !s.is(f):
		h.Add(name, value)
	case s.value[f] != value:
		h.Set(name, value)
	}
}

// putB3Multi writes the X-B3 headers. A debug flag stands for the decision: the specification forbids sending both.
func (s *seen) putB3Multi(h *filter.Headers, sp *span, trace, id, parent string) {
	s.put(h, fB3Trace, b3TraceID, trace)
	s.put(h, fB3Span, b3SpanID, id)
	if parent != "" {
		s.put(h, fB3Parent, b3ParentID, parent)
	} else if s.is(fB3Parent) {
		h.Remove(b3ParentID)
	}
	if sp.decision == debug {
		s.put(h, fB3Flags, b3Flags, "1")
		if s.is(fB3Sampled) {
			h.Remove(b3Sampled)
		}
		return
	}
	sampled := "0"
	if sp.decision == sample {
		sampled = "1"
	}
	s.put(h, fB3Sampled, b3Sampled, sampled)
	if s.is(fB3Flags) {
		h.Remove(b3Flags)
	}
}

// keepTracestate passes tracestate on where it belongs to the trace that goes on, and removes it where it does not:
// without a valid traceparent of that trace it means nothing.
func (s *seen) keepTracestate(h *filter.Headers, sp *span) {
	got, present, ok := s.context(cW3C)
	if !present || !ok || got.hi != sp.hi || got.lo != sp.lo {
		h.Remove(tracestate)
		return
	}
	v := s.value[fTracestate]
	if s.many>>fTracestate&1 != 0 {
		v, _ = h.Joined(tracestate)
	}
	if short := shortenTracestate(v); len(short) < len(v) {
		h.Set(tracestate, short)
	}
}
