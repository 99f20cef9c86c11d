package tracing

import "github.com/mizzen-mesh/mizzen/filters/filter"

// field is a header that the policy reads.
type field uint8

const (
	fTraceparent field = iota
	fTracestate
	fB3
	fB3Trace
	fB3Span
	fB3Parent
	fB3Sampled
	fB3Flags
	fJaeger
	fOT
	fRequestID
	fBaggage
	fields
)

const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
	b3Single    = "b3"
	b3TraceID   = "x-b3-traceid"
	b3SpanID    = "x-b3-spanid"
	b3ParentID  = "x-b3-parentspanid"
	b3Sampled   = "x-b3-sampled"
	b3Flags     = "x-b3-flags"
	uberTraceID = "uber-trace-id"
	otContext   = "x-ot-span-context"
	requestID   = "x-request-id"
	baggage     = "baggage"
)

// watched are the names that read looks for.
func watched(force string) filter.Names {
	all := filter.NamesOf(force)
	for _, name := range [...]string{traceparent, tracestate, b3Single, b3TraceID, b3SpanID, b3ParentID, b3Sampled, b3Flags,
		uberTraceID, otContext, requestID, baggage} {
		all |= filter.NamesOf(name)
	}
	return all
}

// seen is what one pass over the request's headers found.
type seen struct {
	value  [fields]string // the first of each
	has    uint16         // bit by field
	many   uint16         // those that came more than once
	forced bool           // the header that forces sampling says so
}

func (s *seen) read(h *filter.Headers, watched filter.Names, force string) {
	if !h.May(watched) {
		return
	}
	headers := h.All()
	for i := range headers {
		h := &headers[i]
		if force != "" && h.Name == force && (h.Value == "1" || h.Value == "true") {
			s.forced = true
		}
		var f field
		switch h.Name {
		case traceparent:
			f = fTraceparent
		case tracestate:
			f = fTracestate
		case b3Single:
			f = fB3
		case b3TraceID:
			f = fB3Trace
		case b3SpanID:
			f = fB3Span
		case b3ParentID:
			f = fB3Parent
		case b3Sampled:
			f = fB3Sampled
		case b3Flags:
			f = fB3Flags
		case uberTraceID:
			f = fJaeger
		case otContext:
			f = fOT
		case requestID:
			f = fRequestID
		case baggage:
			f = fBaggage
		default:
			continue
		}
		if bit := uint16(1) << f; s.has&bit == 0 {
			s.has |= bit
			s.value[f] = h.Value
		} else {
			s.many |= bit
		}
	}
}

func (s *seen) is(f field) bool { return s.has>>f&1 != 0 }

// code is a Format as a number, in the default order of precedence.
type code uint8

const (
	cW3C code = iota
	cB3
	cB3Multi
	cJaeger
	cOT
	codes
)

// headersOf says which headers make up a format.
func headersOf(c code) uint16 {
	return [...]uint16{
		cW3C: 1 << fTraceparent, cB3: 1 << fB3,
		cB3Multi: 1<<fB3Trace | 1<<fB3Span | 1<<fB3Parent | 1<<fB3Sampled | 1<<fB3Flags,
		cJaeger:  1 << fJaeger, cOT: 1 << fOT,
	}[c]
}

// format is the name of a code, as labels carry it.
func (c code) format() Format { return [...]Format{W3C, B3, B3Multi, Jaeger, OT}[c] }

// context reads one format. Absent: present is false. A header that came twice is malformed: nobody can say which holds.
func (s *seen) context(c code) (sp span, present, ok bool) {
	bits := headersOf(c)
	if s.has&bits == 0 {
		return span{}, false, false
	}
	if s.many&bits != 0 {
		return span{}, true, false
	}
	switch c {
	case cW3C:
		sp, ok = parseTraceparent(s.value[fTraceparent])
	case cB3:
		sp, ok = parseB3(s.value[fB3])
	case cB3Multi:
		sp, ok = parseB3Multi(s.value[fB3Trace], s.value[fB3Span], s.value[fB3Sampled], s.value[fB3Flags])
	case cJaeger:
		sp, ok = parseJaeger(s.value[fJaeger])
	case cOT:
		sp, ok = parseOT(s.value[fOT])
	}
	return sp, true, ok
}
