package dynmod

import (
	"strconv"
	"strings"

	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// details is the response code detail of a reply that names none.
const details = "mizzen_reply"

// reply sends a local reply. The policies' response side sees it first, as it sees every other response. The call may
// end the stream: nothing may follow it.
func (s *stream) reply(r *filter.Reply) {
	for range filter.MaxPolicies {
		s.response.Reset(s.replyHeaders(r))
		s.run.Exchange.Response = &s.response
		v := s.run.Response(s.listener.program)
		if v.Reply == nil {
			break // a Wait here is not honoured: the answer is ours and ready
		}
		r = v.Reply
	}
	if r.Flag != "" {
		s.h.AddCustomFlag(r.Flag)
	}
	status, d := r.Status, r.Details
	if d == "" {
		d = details
	}
	headers := make([][2]string, 0, 8)
	for _, h := range s.response.All() {
		switch h.Name {
		case ":status":
			if n, err := strconv.Atoi(h.Value); err == nil {
				status = n
			}
		default:
			headers = append(headers, [2]string{h.Name, h.Value})
		}
	}
	s.h.SendLocalResponse(uint32(status), headers, []byte(r.Body), d)
}

// replyHeaders is what the response side sees of a local reply. For a gRPC request Envoy answers HTTP 200, and, unless
// it is among the headers, grpc-status 0: the ABI has no way to leave the mapping to Envoy.
func (s *stream) replyHeaders(r *filter.Reply) []filter.Header {
	headers := make([]filter.Header, 0, len(r.Headers)+4)
	headers = append(headers, filter.Header{Name: ":status", Value: strconv.Itoa(r.Status)})
	if isGRPC(s.request.Value("content-type")) {
		headers = append(headers, filter.Header{Name: "grpc-status", Value: strconv.Itoa(r.GRPCCode())})
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
	headers := make([][2]string, len(c.Headers))
	for i, h := range c.Headers {
		headers[i] = [2]string{h.Name, h.Value}
	}
	ms := max(c.Timeout.Milliseconds(), 1)
	res, _ := s.h.HttpCallout(c.Cluster, headers, c.Body, uint64(ms), s)
	switch res {
	case shared.HttpCalloutInitSuccess:
		return nil
	case shared.HttpCalloutInitClusterNotFound:
		return &filter.Answer{Err: "no such cluster"}
	case shared.HttpCalloutInitMissingRequiredHeaders:
		return &filter.Answer{Err: "missing :method, :path or host"}
	default:
		return &filter.Answer{Err: "cannot send"}
	}
}

// OnHttpCalloutDone resumes the chain with the answer to its Call.
func (s *stream) OnHttpCalloutDone(_ uint64, res shared.HttpCalloutResult, headers [][2]shared.UnsafeEnvoyBuffer,
	body []shared.UnsafeEnvoyBuffer) {
	s.enter()
	defer s.leave()
	if s.ended {
		return
	}
	a := &filter.Answer{}
	switch res {
	case shared.HttpCalloutSuccess:
		for _, h := range headers {
			a.Headers = append(a.Headers, filter.Header{Name: h[0].ToString(), Value: h[1].ToString()})
		}
		for _, b := range body {
			a.Body = append(a.Body, b.ToUnsafeBytes()...)
		}
	case shared.HttpCalloutReset:
		a.Err = "reset"
	default:
		a.Err = "answer too large"
	}
	s.run.Resume(a)
	s.goOn()
}
