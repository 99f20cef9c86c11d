package tracing

import "strings"

// Flags of uber-trace-id.
const (
	jaegerSampled = 1
	jaegerDebug   = 2
)

// parseJaeger reads uber-trace-id: {trace}:{span}:{parent}:{flags}, hexadecimal, leading zeros may be left out. Some
// clients write the colons as %3A.
func parseJaeger(v string) (s span, ok bool) {
	if len(v) > 200 {
		return span{}, false
	}
	if strings.IndexByte(v, '%') >= 0 {
		v = strings.NewReplacer("%3A", ":", "%3a", ":").Replace(v)
	}
	trace, rest, _ := strings.Cut(v, ":")
	id, rest, _ := strings.Cut(rest, ":")
	parent, flags, _ := strings.Cut(rest, ":")
	if s.hi, s.lo, ok = parseTraceID(trace); !ok {
		return span{}, false
	}
	if s.id, ok = parseHex(id); !ok || s.id == 0 {
		return span{}, false
	}
	if _, ok = parseHex(parent); !ok {
		return span{}, false
	}
	f, ok := parseHex(flags)
	if !ok || len(flags) > 2 {
		return span{}, false
	}
	switch {
	case f&jaegerSampled == 0:
		s.decision = drop
	case f&jaegerDebug != 0:
		s.decision = debug
	default:
		s.decision = sample
	}
	return s, true
}

func appendJaeger(b []byte, s *span) []byte {
	b = append(appendTraceID(b, s), ':')
	b = append(appendHex(b, s.id), ':')
	if s.parent == 0 {
		b = append(b, '0')
	} else {
		b = appendHex(b, s.parent)
	}
	return append(b, ':', [...]byte{undecided: '0', drop: '0', sample: '1', debug: '3'}[s.decision])
}
