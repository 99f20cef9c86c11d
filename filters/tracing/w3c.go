package tracing

import "strings"

// Lengths of traceparent's parts (W3C Trace Context Level 1, section 3.2).
const (
	traceparentLen = 55 // version 00: "00-" 32 "-" 16 "-" 2
	maxTracestate  = 512
	longMember     = 128
	maxMembers     = 32
)

// parseTraceparent reads a traceparent header. A higher version than 00 is read as far as it looks like 00. Capital
// letters are not allowed.
func parseTraceparent(v string) (s span, ok bool) {
	if len(v) < traceparentLen || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return span{}, false
	}
	version, ok1 := parseLowerByte(v[:2])
	if !ok1 || version == 0xff || version == 0 && len(v) != traceparentLen ||
		len(v) > traceparentLen && v[traceparentLen] != '-' {
		return span{}, false
	}
	hi, ok1 := parseLower16(v[3:19])
	lo, ok2 := parseLower16(v[19:35])
	id, ok3 := parseLower16(v[36:52])
	flags, ok4 := parseLowerByte(v[53:55])
	if !ok1 || !ok2 || !ok3 || !ok4 || hi|lo == 0 || id == 0 {
		return span{}, false
	}
	s = span{hi: hi, lo: lo, id: id, decision: drop}
	if flags&1 != 0 {
		s.decision = sample
	}
	return s, true
}

func appendTraceparent(b []byte, s *span) []byte {
	b = append(b, "00-"...)
	b = append(appendTraceID(b, s), '-')
	b = appendHex(b, s.id)
	if s.decision >= sample {
		return append(b, "-01"...)
	}
	return append(b, "-00"...)
}

// shortenTracestate cuts a tracestate of more than 512 bytes as section 3.3.1.5 has it: members longer than 128 go
// first, then the last ones. More than 32 members are cut too. What fits is returned as it is.
func shortenTracestate(v string) string {
	if len(v) <= maxTracestate && strings.Count(v, ",") < maxMembers {
		return v
	}
	size := len(v)
	for _, drop := range [...]func(i int, m string) bool{
		func(_ int, m string) bool { return size > maxTracestate && len(m) > longMember },
		func(i int, _ string) bool { return size > maxTracestate || i >= maxMembers },
	} {
		members := strings.Split(v, ",")
		kept := len(members)
		for i := len(members) - 1; i >= 0; i-- {
			if drop(i, members[i]) {
				size -= len(members[i]) + 1
				members = append(members[:i], members[i+1:]...)
			}
		}
		if len(members) < kept {
			v = strings.Join(members, ",")
			size = len(v)
		}
	}
	return v
}
