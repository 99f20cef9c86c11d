package tracing

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// record is what is known so far of an exchange that becomes a span. Its strings hold until the exchange has ended.
type record struct {
	span   span
	start  time.Time
	status int // HTTP status of the response, 0 before it came
	grpc   int // grpc-status among the response's headers, -1 if there is none
	flags  string
	reply  string // details of the policies' last reply
	notes  []tag
}

// Bounds of one span.
const (
	maxNotes = 16
	maxText  = 256 // bytes of a value, as Envoy's max_path_tag_length
)

// Annotated implements filter.Observer. A key that is told twice keeps its last value.
func (r *record) Annotated(key, value string) {
	key = "mizzen." + key
	for i := range r.notes {
		if r.notes[i].key == key {
			r.notes[i].text = value
			return
		}
	}
	if len(r.notes) < maxNotes {
		r.notes = append(r.notes, tag{key: key, text: value})
	}
}

// Flagged implements filter.Observer.
func (r *record) Flagged(code string) {
	if r.flags != "" {
		code = r.flags + "," + code
	}
	r.flags = code
}

// Replied implements filter.Observer.
func (r *record) Replied(a *filter.Reply) { r.reply = a.Details }

// responded reads the response's headers.
func (r *record) responded(h *filter.Headers) {
	r.status, _ = strconv.Atoi(h.Value(":status"))
	r.grpc = -1
	if n, err := strconv.Atoi(h.Value("grpc-status")); err == nil {
		r.grpc = n
	}
}

// report is a finished span, as the codecs write it.
type report struct {
	span       span
	client     bool // a client span, otherwise a server's
	name       string
	start, end time.Time
	service    string
	peer       netip.AddrPort // the other end; zero if unknown. Its port is 0 where only the address is known
	tags       []tag
	failed     bool
	message    string // why, "" if only the status says it
}

// tag is one attribute: a number where text is "".
type tag struct {
	key, text string
	number    int64
}

// maxTags is enough for everything that finish knows, so that tags need no memory of their own.
const maxTags = 20 + maxNotes

// finish makes the report of an exchange that has ended.
func (r *record) finish(x *filter.Exchange, client bool, room *[maxTags]tag) report {
	out := report{span: r.span, client: client, start: r.start, end: x.Now, tags: room[:0]}
	if out.end.Before(out.start) {
		out.end = out.start
	}
	h := x.Request
	method, route := h.Value(":method"), x.Host.RouteName()
	out.name = method
	if route != "" {
		out.name = method + " " + route
	}
	path, _, _ := strings.Cut(h.Value(":path"), "?")
	host, port := splitPort(h.Value(":authority"))
	out.text("http.request.method", method)
	out.text("url.scheme", h.Value(":scheme"))
	out.text("server.address", host)
	out.count("server.port", port)
	out.text("url.path", path)
	out.text("user_agent.original", h.Value("user-agent"))
	out.text("guid:x-request-id", h.Value(requestID))
	out.text("mizzen.route", route)
	out.text("upstream_cluster", x.Attribute(filter.UpstreamCluster))
	out.ends(x)
	out.outcome(x, r)
	out.text("mizzen.flags", r.flags)
	out.tags = append(out.tags, r.notes...)
	return out
}

// ends says who is at the other end: the upstream of a client span, the client of a server span.
func (p *report) ends(x *filter.Exchange) {
	upstream := x.Attribute(filter.UpstreamAddress)
	if !p.client {
		p.text("upstream_address", upstream)
		source := x.Host.SourceAddress()
		p.text("client.address", source)
		if a, err := netip.ParseAddr(source); err == nil {
			p.peer = netip.AddrPortFrom(a, 0)
		}
		return
	}
	if a, err := netip.ParseAddrPort(upstream); err == nil {
		p.peer = a
		p.text("network.peer.address", a.Addr().String())
		p.count("network.peer.port", int(a.Port()))
		return
	}
	p.text("network.peer.address", upstream)
}

// outcome says how it ended, and whether that is an error: none or 5xx, or 4xx too for the one who asked
// (OpenTelemetry's conventions for HTTP spans), or a gRPC status that is a fault.
func (p *report) outcome(x *filter.Exchange, r *record) {
	status, grpc := r.status, r.grpc
	if n, err := strconv.Atoi(x.Attribute(filter.ResponseCode)); err == nil && n > 0 {
		status = n
	}
	isGRPC := strings.HasPrefix(x.Request.Value("content-type"), "application/grpc")
	if n, err := strconv.Atoi(x.Attribute(filter.GRPCStatus)); err == nil && isGRPC {
		grpc = n
	}
	details := r.reply
	if details == "" {
		details = x.Attribute(filter.ResponseDetails)
	}
	p.count("http.response.status_code", status)
	failure := ""
	switch {
	case status == 0:
		failure = "no_response"
	case status >= 500 || p.client && status >= 400:
		failure = strconv.Itoa(status)
	}
	if isGRPC {
		p.text("rpc.system", "grpc")
	}
	if isGRPC && grpc >= 0 {
		p.tags = append(p.tags, tag{key: "rpc.grpc.status_code", number: int64(grpc)})
		if failure == "" && (grpcFault(grpc) || p.client && grpc != 0) {
			failure = strconv.Itoa(grpc)
		}
	}
	if details != "via_upstream" {
		p.text("mizzen.details", details)
	}
	if failure != "" {
		p.failed, p.message = true, details
		p.text("error.type", failure)
	}
}

// grpcFault tells which gRPC statuses are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL,
// UNAVAILABLE and DATA_LOSS (OpenTelemetry's conventions for gRPC spans).
func grpcFault(code int) bool {
	switch code {
	case 2, 4, 12, 13, 14, 15:
		return true
	}
	return false
}

// text adds an attribute unless it is empty.
func (p *report) text(key, value string) {
	if value != "" {
		p.tags = append(p.tags, tag{key: key, text: value})
	}
}

// count adds a number unless it is 0.
func (p *report) count(key string, n int) {
	if n != 0 {
		p.tags = append(p.tags, tag{key: key, number: int64(n)})
	}
}

// splitPort cuts the port off an authority; 0 if it names none.
func splitPort(authority string) (host string, port int) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority, 0
	}
	n, err := strconv.ParseUint(authority[i+1:], 10, 16)
	if err != nil {
		return authority, 0
	}
	return authority[:i], int(n)
}

// fit bounds a text and makes it valid UTF-8, as both encodings want it.
func fit(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
		for range utf8.UTFMax - 1 {
			if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
				break
			}
			s = s[:len(s)-1]
		}
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
