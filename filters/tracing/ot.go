package tracing

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// x-ot-span-context has had two forms in Envoy's life. Both are read.
//
//   - Its Zipkin tracer wrote {trace};{span};{parent};{annotation}, with 16 hexadecimal digits each.
//   - Its LightStep tracer wrote the base64 of a protobuf, lightstep.BinaryCarrier: field 2 holds
//     {1: fixed64 trace, 2: fixed64 span, 3: bool sampled, 4: baggage}. This is the form written.
//
// Both hold 64 bits of the trace id only.

const (
	maxOT         = 4096 // longer than any without absurd baggage
	wireVarint    = 0
	wireFixed64   = 1
	wireBytes     = 2
	wireFixed32   = 5
	tagCarrier    = 2<<3 | wireBytes
	tagTrace      = 1<<3 | wireFixed64
	tagSpan       = 2<<3 | wireFixed64
	tagSampled    = 3<<3 | wireVarint
	otCarrierSize = 20 // of the inner message that is written
)

func parseOT(v string) (s span, ok bool) {
	if len(v) > maxOT {
		return span{}, false
	}
	if strings.IndexByte(v, ';') >= 0 {
		return parseOTText(v)
	}
	raw, err := base64.StdEncoding.DecodeString(v)
	if err != nil {
		return span{}, false
	}
	inner, ok := otField(raw, tagCarrier)
	if !ok {
		return span{}, false
	}
	return parseOTCarrier(inner)
}

func parseOTText(v string) (s span, ok bool) {
	trace, rest, _ := strings.Cut(v, ";")
	id, rest, _ := strings.Cut(rest, ";")
	parent, _, _ := strings.Cut(rest, ";")
	if s.lo, ok = parseHex(trace); !ok || s.lo == 0 {
		return span{}, false
	}
	if s.id, ok = parseHex(id); !ok || s.id == 0 {
		return span{}, false
	}
	_, ok = parseHex(parent)
	return s, ok
}

// otField finds the last bytes field with the given tag.
func otField(raw []byte, tag uint64) (value []byte, ok bool) {
	for len(raw) > 0 {
		t, v, rest, good := nextField(raw)
		if !good {
			return nil, false
		}
		if t == tag {
			value, ok = v, true
		}
		raw = rest
	}
	return value, ok
}

func parseOTCarrier(raw []byte) (s span, ok bool) {
	s.decision = drop // proto3: an absent bool is false
	for len(raw) > 0 {
		tag, v, rest, good := nextField(raw)
		if !good {
			return span{}, false
		}
		switch tag {
		case tagTrace:
			s.lo = binary.LittleEndian.Uint64(v)
		case tagSpan:
			s.id = binary.LittleEndian.Uint64(v)
		case tagSampled:
			if s.decision = drop; len(v) != 1 || v[0] != 0 {
				s.decision = sample
			}
		}
		raw = rest
	}
	return s, s.hasIDs()
}

// nextField splits one protobuf field off raw; v is its value as it is on the wire, without the length of bytes.
func nextField(raw []byte) (tag uint64, v, rest []byte, ok bool) {
	tag, n := binary.Uvarint(raw)
	if n <= 0 || tag>>3 == 0 {
		return 0, nil, nil, false
	}
	raw = raw[n:]
	size := uint64(0)
	switch tag & 7 {
	case wireVarint:
		if _, n = binary.Uvarint(raw); n <= 0 {
			return 0, nil, nil, false
		}
		size = uint64(n)
	case wireFixed64:
		size = 8
	case wireFixed32:
		size = 4
	case wireBytes:
		if size, n = binary.Uvarint(raw); n <= 0 {
			return 0, nil, nil, false
		}
		raw = raw[n:]
	default:
		return 0, nil, nil, false
	}
	if size > uint64(len(raw)) {
		return 0, nil, nil, false
	}
	return tag, raw[:size], raw[size:], true
}

func appendOT(b []byte, s *span) []byte {
	var raw [2 + otCarrierSize]byte
	raw[0], raw[1] = tagCarrier, otCarrierSize
	raw[2] = tagTrace
	binary.LittleEndian.PutUint64(raw[3:], s.lo)
	raw[11] = tagSpan
	binary.LittleEndian.PutUint64(raw[12:], s.id)
	raw[20] = tagSampled
	if s.decision >= sample {
		raw[21] = 1
	}
	return base64.StdEncoding.AppendEncode(b, raw[:])
}
