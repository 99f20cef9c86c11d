package tracing

import "encoding/binary"

// otlp writes OTLP's protobuf (opentelemetry-proto, trace.proto v1), which every collector takes at /v1/traces. It is
// little enough to be written by hand, and the wasm module stays small.
type otlp struct{}

// Wire types of protobuf.
const (
	varint   = 0
	fixed64  = 1
	lengthed = 2
	fixed32  = 5
)

func (otlp) contentType() string { return "application/x-protobuf" }

// appendSpan writes the message Span.
func (otlp) appendSpan(b []byte, r *report) []byte {
	b = key(b, 1, lengthed)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(append(b, 16), r.span.hi), r.span.lo)
	b = binary.BigEndian.AppendUint64(append(key(b, 2, lengthed), 8), r.span.id)
	if r.span.parent != 0 {
		b = binary.BigEndian.AppendUint64(append(key(b, 4, lengthed), 8), r.span.parent)
	}
	b = text(b, 5, fit(r.name))
	kind := uint64(2) // SERVER
	if r.client {
		kind = 3
	}
	b = number(b, 6, kind)
	b = binary.LittleEndian.AppendUint64(key(b, 7, fixed64), uint64(r.start.UnixNano()))
	b = binary.LittleEndian.AppendUint64(key(b, 8, fixed64), uint64(r.end.UnixNano()))
	for i := range r.tags {
		b = attribute(b, 9, &r.tags[i])
	}
	if r.failed {
		var status [maxText + 16]byte
		s := status[:0]
		if r.message != "" {
			s = text(s, 2, fit(r.message))
		}
		b = message(b, 15, number(s, 3, 2)) // ERROR
	}
	return binary.LittleEndian.AppendUint32(key(b, 16, fixed32), 1) // the W3C flag: sampled
}

// join writes an ExportTraceServiceRequest.
func (otlp) join(service string, spans [][]byte) []byte {
	resource := message(nil, 1, attribute(nil, 1, &tag{key: "service.name", text: service}))
	scoped := message(nil, 1, text(nil, 1, "mizzen"))
	size := len(scoped)
	for _, s := range spans {
		size += len(s) + 6
	}
	inner := append(make([]byte, 0, size), scoped...)
	for _, s := range spans {
		inner = message(inner, 2, s)
	}
	outer := append(make([]byte, 0, len(resource)+len(inner)+12), resource...)
	outer = message(outer, 2, inner)
	return message(make([]byte, 0, len(outer)+6), 1, outer)
}

// attribute writes a KeyValue.
func attribute(b []byte, field uint64, t *tag) []byte {
	var room [2*maxText + 32]byte
	kv := text(room[:0], 1, fit(t.key))
	var value [maxText + 16]byte
	v := value[:0]
	if t.text == "" {
		v = number(v, 3, uint64(t.number))
	} else {
		v = text(v, 1, fit(t.text))
	}
	return message(b, field, message(kv, 2, v))
}

func key(b []byte, field, wire uint64) []byte { return binary.AppendUvarint(b, field<<3|wire) }

func number(b []byte, field, v uint64) []byte { return binary.AppendUvarint(key(b, field, varint), v) }

func text(b []byte, field uint64, s string) []byte {
	return append(binary.AppendUvarint(key(b, field, lengthed), uint64(len(s))), s...)
}

func message(b []byte, field uint64, m []byte) []byte {
	return append(binary.AppendUvarint(key(b, field, lengthed), uint64(len(m))), m...)
}
