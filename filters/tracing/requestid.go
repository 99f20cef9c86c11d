package tracing

import "github.com/mizzen-mesh/mizzen/filters/filter"

// appendRequestID appends a random UUID. Its version digit (index 14) tells the sampling decision as Envoy's UUID
// request id extension has it: 4 not sampled, 9 sampled, a forced by a header, b forced by the client (debug).
func appendRequestID(b []byte, r filter.Rand, why byte) []byte {
	hi, lo := r.Uint64(), r.Uint64()
	lo = lo&^(3<<62) | 2<<62 // variant of RFC 9562
	var t [32]byte
	appendHex(appendHex(t[:0], hi), lo)
	t[12] = why
	b = append(append(b, t[:8]...), '-')
	b = append(append(b, t[8:12]...), '-')
	b = append(append(b, t[12:16]...), '-')
	b = append(append(b, t[16:20]...), '-')
	return append(b, t[20:]...)
}

// reason is the version digit for a decision.
func reason(d decision, forced bool) byte {
	switch {
	case d == debug:
		return 'b'
	case d == sample && forced:
		return 'a'
	case d == sample:
		return '9'
	}
	return '4'
}
