package host

import (
	"strconv"
	"strings"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// details is the response code detail of a reply that names none.
const details = "mizzen_reply"

// reply sends a local reply. The policies' response side sees it first, as it sees every other response; Envoy's own
// pass of it through this filter is then let by.
func (s *stream) reply(r *filter.Reply) {
	s.replied = true
	for range filter.MaxPolicies {
		s.response.Reset(s.replyHeaders(r))
		s.run.Exchange.Response = &s.response
		v := s.run.Response(s.plugin.program)
		if v.Reply == nil {
			break // a Wait here is not honoured: the answer is ours and ready
		}
		r = v.Reply
	}
	if r.Flag != "" {
		s.Flag(r.Flag)
	}
	status, d, grpc := r.Status, r.Details, int32(-1)
	if d == "" {
		d = details
	}
	headers := make([][2]string, 0, 8)
	for _, h := range s.response.All() {
		n, err := strconv.Atoi(h.Value)
		switch {
		case h.Name == ":status" && err == nil:
			status = n
		case h.Name == ":status":
		case h.Name == "grpc-status" && err == nil:
			grpc = int32(n)
		default:
			headers = append(headers, [2]string{h.Name, h.Value})
		}
	}
	if err := sendLocalResponse(uint32(status), d, headers, r.Body, grpc); err != nil {
		proxywasm.LogErrorf("mizzen: %v", err)
	}
}

// replyHeaders is what the response side sees of a local reply. For a gRPC request Envoy answers HTTP 200 and derives
// grpc-status from the status, unless it is given.
func (s *stream) replyHeaders(r *filter.Reply) []filter.Header {
	headers := make([]filter.Header, 0, len(r.Headers)+4)
	headers = append(headers, filter.Header{Name: ":status", Value: strconv.Itoa(r.Status)})
	if r.GRPCStatus != nil && isGRPC(s.request.Value("content-type")) {
		headers = append(headers, filter.Header{Name: "grpc-status", Value: strconv.Itoa(*r.GRPCStatus)})
	}
	return append(headers, r.Headers...)
}

// isGRPC decides as Envoy does (Grpc::Common::hasGrpcContentType).
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// call starts a Call. nil: it is under way, and the stream stops; otherwise it failed at once.
func (s *stream) call(c *filter.Call) *filter.Answer {
	id := s.id
	return dispatch(c, func(headers, size int) { s.called(id, headers, size) })
}

// dispatch starts a Call on behalf of the effective context; done is told the number of headers and the size of the
// body of what came back.
func dispatch(c *filter.Call, done func(headers, size int)) *filter.Answer {
	headers := make([][2]string, len(c.Headers))
	for i, h := range c.Headers {
		name := h.Name
		if name == "host" {
			name = ":authority" // Envoy's wasm host asks for it by this name
		}
		headers[i] = [2]string{name, h.Value}
	}
	_, err := proxywasm.DispatchHttpCall(c.Cluster, headers, c.Body, nil, uint32(max(c.Timeout.Milliseconds(), 1)),
		func(n, size, _ int) { done(n, size) })
	if err != nil {
		return &filter.Answer{Err: "cannot send: " + err.Error()}
	}
	return nil
}

// called resumes the chain with the answer to its Call.
func (s *stream) called(id uint32, headers, size int) {
	if s.ended || s.id != id {
		return
	}
	// After a Wait the SDK takes the plugin for the caller.
	if err := proxywasm.SetEffectiveContext(id); err != nil {
		return
	}
	s.run.Exchange.Now = time.Now()
	s.guard(func() {
		s.run.Resume(answer(headers, size))
		s.goOn()
	})
}

// answer reads what came back. Without headers nothing did: proxy-wasm does not say whether it was a reset or a timeout.
func answer(headers, size int) *filter.Answer {
	a := &filter.Answer{}
	if headers == 0 {
		a.Err = "reset"
		return a
	}
	pairs, err := proxywasm.GetHttpCallResponseHeaders()
	if err != nil {
		a.Err = "read the answer: " + err.Error()
		return a
	}
	for _, h := range pairs {
		a.Headers = append(a.Headers, filter.Header{Name: h[0], Value: h[1]})
	}
	if size > 0 {
		if a.Body, err = proxywasm.GetHttpCallResponseBody(0, size); err != nil {
			a.Err = "read the answer: " + err.Error()
		}
	}
	return a
}
