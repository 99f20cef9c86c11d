package golang

import (
	"strconv"

	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// details is the response code detail of a reply that names none.
const details = "mizzen_reply"

// reply asks Envoy for a local reply. Envoy posts it to the worker, then passes it through this filter's EncodeHeaders
// if the request was not answered yet.
func (s *stream) reply(to api.FilterProcessCallbacks, r *filter.Reply) {
	if r.Flag != "" {
		s.Flag(r.Flag)
	}
	headers := make(map[string][]string, len(r.Headers))
	for _, h := range r.Headers {
		headers[h.Name] = append(headers[h.Name], h.Value)
	}
	d := r.Details
	if d == "" {
		d = details
	}
	to.SendLocalReply(r.Status, r.Body, headers, int64(r.GRPCCode()), d) // contrib cannot leave the mapping to Envoy
}

// replyInstead answers with r in place of the upstream's response. Envoy sends such a reply as it stands: the policies
// that have not seen the response yet see this one here.
func (s *stream) replyInstead(r *filter.Reply) {
	for range filter.MaxPolicies {
		headers := make([]filter.Header, 0, len(r.Headers)+1)
		headers = append(headers, filter.Header{Name: ":status", Value: strconv.Itoa(r.Status)})
		s.response.Reset(append(headers, r.Headers...))
		v := s.run.Response(s.program)
		if v.Reply == nil {
			break // a Wait here is not honoured: the answer is ours and ready
		}
		r = v.Reply
	}
	sent := *r
	sent.Headers = nil
	for _, h := range s.response.All() {
		switch h.Name {
		case ":status":
			if n, err := strconv.Atoi(h.Value); err == nil {
				sent.Status = n
			}
		default:
			sent.Headers = append(sent.Headers, h)
		}
	}
	s.reply(s.cb.EncoderFilterCallbacks(), &sent)
}
