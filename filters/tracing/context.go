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

// parseHex reads 1 to 16 hexadecimal digits, of either case.
func parseHex(s string) (v uint64, ok bool) {
	if len(s) == 0 || len(s) > 16 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		d := hexDigit(s[i])
		if d > 15 {
			return 0, false
		}
		v = v<<4 | uint64(d)
	}
	return v, true
}

// hexDigit is the value of a hexadecimal digit, 255 if c is none.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
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

// lowerHex says that s holds no capital letters, which W3C forbids.
func lowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'F' {
			return false
		}
	}
	return true
}

const digits = "0123456789abcdef"

// appendHex appends v as 16 digits.
func appendHex(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}

func appendTraceID(b []byte, s *span) []byte { return appendHex(appendHex(b, s.hi), s.lo) }
