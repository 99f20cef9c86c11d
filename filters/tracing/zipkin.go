package tracing

import (
	"net/netip"
	"strconv"
	"time"
)

// zipkin writes Zipkin's JSON of version 2.
type zipkin struct{}

func (zipkin) contentType() string { return "application/json" }

// appendSpan writes one span. All its attributes are tags, numbers too, and "error" marks a failure as Zipkin wants it.
func (zipkin) appendSpan(b []byte, r *report) []byte {
	b = append(b, `{"traceId":"`...)
	if r.span.hi != 0 {
		b = appendHex(b, r.span.hi)
	}
	b = append(appendHex(b, r.span.lo), `","id":"`...)
	b = appendHex(b, r.span.id)
	if r.span.parent != 0 {
		b = appendHex(append(b, `","parentId":"`...), r.span.parent)
	}
	b = append(b, `","kind":"`...)
	if r.client {
		b = append(b, "CLIENT"...)
	} else {
		b = append(b, "SERVER"...)
	}
	b = appendJSON(append(b, `","name":`...), r.name)
	b = strconv.AppendInt(append(b, `,"timestamp":`...), r.start.UnixMicro(), 10)
	// Zipkin takes 0 for unknown.
	b = strconv.AppendInt(append(b, `,"duration":`...), max(int64(r.end.Sub(r.start)/time.Microsecond), 1), 10)
	b = appendJSON(append(b, `,"localEndpoint":{"serviceName":`...), r.service)
	b = append(b, '}')
	b = appendEndpoint(b, r.peer)
	if r.span.decision == debug {
		b = append(b, `,"debug":true`...)
	}
	b = append(b, `,"tags":{`...)
	for i := range r.tags {
		b = appendTag(b, i > 0, &r.tags[i])
	}
	if r.failed {
		message := r.message
		if message == "" {
			message = "true"
		}
		b = appendTag(b, len(r.tags) > 0, &tag{key: "error", text: message})
	}
	return append(b, "}}"...)
}

// join writes a list.
func (zipkin) join(_ string, spans [][]byte) []byte {
	size := 2
	for _, s := range spans {
		size += len(s) + 1
	}
	b := append(make([]byte, 0, size), '[')
	for i, s := range spans {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, s...)
	}
	return append(b, ']')
}

func appendTag(b []byte, more bool, t *tag) []byte {
	if more {
		b = append(b, ',')
	}
	b = append(appendJSON(b, t.key), ':')
	if t.text == "" {
		b = strconv.AppendInt(append(b, '"'), t.number, 10)
		return append(b, '"')
	}
	return appendJSON(b, t.text)
}

// appendEndpoint writes the other end, if it is known.
func appendEndpoint(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return b
	}
	ip := a.Addr().Unmap().WithZone("")
	b = append(b, `,"remoteEndpoint":{"ipv6":"`...)
	if ip.Is4() {
		b[len(b)-4] = '4'
	}
	b = append(ip.AppendTo(b), '"')
	if a.Port() != 0 {
		b = strconv.AppendUint(append(b, `,"port":`...), uint64(a.Port()), 10)
	}
	return append(b, '}')
}

// appendJSON writes a string.
func appendJSON(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	s = fit(s)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
