package tracing

// decision is what a caller said about sampling.
type decision uint8

const (
	undecided decision = iota
	drop
	sample
	debug // sample, and let no sampler on the way decide otherwise
)

// span is a position in a trace: what every format carries in its own way. Identifiers are 0 where there is none.
type span struct {
	hi, lo   uint64 // trace id; hi is 0 for a 64-bit one
	id       uint64
	parent   uint64
	decision decision
}

// hasIDs says that s names a span, not only a decision.
func (s *span) hasIDs() bool { return s.hi|s.lo != 0 && s.id != 0 }

// sameTrace compares trace ids: their low halves where one has no more (OpenTracing's format has 64 bits only).
func (s *span) sameTrace(o *span) bool {
	return s.lo == o.lo && (s.hi == o.hi || s.hi == 0 || o.hi == 0)
}

// parseTraceID reads up to 32 hexadecimal digits; 0 is no trace id.
func parseTraceID(s string) (hi, lo uint64, ok bool) {
	if len(s) > 16 {
		if hi, ok = parseHex(s[:len(s)-16]); !ok {
			return 0, 0, false
		}
		s = s[len(s)-16:]
	}
	lo, ok = parseHex(s)
	return hi, lo, ok && hi|lo != 0
}

func appendTraceID(b []byte, s *span) []byte { return appendHex(appendHex(b, s.hi), s.lo) }
