package tracing

// parseB3 reads the single header: {trace}-{span}, with -{state} and -{parent} if there, or the state alone.
// The parent is checked but not kept: this hop's parent is the span that called it.
func parseB3(v string) (s span, ok bool) {
	if len(v) == 1 {
		s.decision, ok = b3State(v)
		return s, ok
	}
	id := 16
	if len(v) > 32 && v[32] == '-' {
		id = 32
	}
	if len(v) < id+17 || v[id] != '-' {
		return span{}, false
	}
	if s.hi, s.lo, ok = parseTraceID(v[:id]); !ok {
		return span{}, false
	}
	if s.id, ok = parseHex(v[id+1 : id+17]); !ok || s.id == 0 {
		return span{}, false
	}
	rest := v[id+17:]
	if rest == "" {
		return s, true
	}
	if len(rest) != 2 && len(rest) != 19 || rest[0] != '-' {
		return span{}, false
	}
	if s.decision, ok = b3State(rest[1:2]); !ok {
		return span{}, false
	}
	if len(rest) == 19 {
		if _, ok = parseHex(rest[3:]); !ok || rest[2] != '-' {
			return span{}, false
		}
	}
	return s, true
}

func b3State(v string) (decision, bool) {
	switch v {
	case "0":
		return drop, true
	case "1":
		return sample, true
	case "d":
		return debug, true
	}
	return undecided, false
}

// parseB3Multi reads the X-B3 headers; absent ones are "". A trace id and a span id come together or not at all.
func parseB3Multi(trace, id, sampled, flags string) (s span, ok bool) {
	switch sampled {
	case "":
	case "1", "true", "True":
		s.decision = sample
	case "0", "false", "False":
		s.decision = drop
	default:
		return span{}, false
	}
	if flags == "1" {
		s.decision = debug
	}
	if trace == "" && id == "" {
		return s, sampled != "" || flags != ""
	}
	if len(trace) != 16 && len(trace) != 32 || len(id) != 16 {
		return span{}, false
	}
	if s.hi, s.lo, ok = parseTraceID(trace); !ok {
		return span{}, false
	}
	s.id, ok = parseHex(id)
	return s, ok && s.id != 0
}

func appendB3(b []byte, s *span) []byte {
	b = append(appendTraceID(b, s), '-')
	b = append(appendHex(b, s.id), '-', b3Letter(s.decision))
	if s.parent != 0 {
		b = appendHex(append(b, '-'), s.parent)
	}
	return b
}

func b3Letter(d decision) byte {
	switch d {
	case debug:
		return 'd'
	case sample:
		return '1'
	}
	return '0'
}
