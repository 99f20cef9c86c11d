package dynmod

// #include "envoy.h"
import "C"

import (
	"cmp"
	"encoding/binary"
	"strconv"
	"strings"
	"unsafe"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// details is the response code detail of a reply that names none.
const details = "mizzen_reply"

// reply ends the script with a local reply. The policies' response side sees it first, as it sees every other response.
func (s *stream) reply(r *filter.Reply) {
	if r.Reset {
		s.giveUp(r)
		return
	}
	for range filter.MaxPolicies {
		s.response.Reset(s.replyHeaders(r))
		s.run.Exchange.Response = &s.response
		v := s.run.Response(s.listener.program)
		if v.Reply == nil {
			break // a Wait here is not honoured: the answer is ours and ready
		}
		if r = v.Reply; r.Reset {
			s.giveUp(r)
			return
		}
	}
	if r.Flag != "" {
		s.script.flag(r.Flag)
	}
	status, d := r.Status, r.Details
	if d == "" {
		d = details
	}
	headers := make([]filter.Header, 0, 8)
	for _, h := range s.response.All() {
		if h.Name != ":status" {
			headers = append(headers, h)
		} else if n, err := strconv.Atoi(h.Value); err == nil {
			status = n
		}
	}
	s.script.reply(status, headers, r.Body, d)
}

// giveUp ends the script with the end of the stream: nobody gets a response, nor sees one.
func (s *stream) giveUp(r *filter.Reply) {
	if r.Flag != "" {
		s.script.flag(r.Flag)
	}
	s.script.reset(cmp.Or(r.Details, details))
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

// Results of the start of a callout, and of its end.
const (
	calloutStarted = 0
	calloutMissing = 1
	calloutUnknown = 2

	calloutAnswered = 0
	calloutReset    = 1
)

// call starts a Call. nil: it is under way, and the stream stops; otherwise it failed at once.
func (s *stream) call(c *filter.Call) *filter.Answer {
	texts, count, ms := encodeCall(c)
	return failedStart(C.mz_call(s.c, unsafe.Pointer(&texts[0]), C.size_t(len(texts)), count, ms))
}

// encodeCall writes a Call as C reads it.
func encodeCall(c *filter.Call) (texts []byte, count C.uint32_t, ms C.uint64_t) {
	size := 8 + len(c.Cluster) + len(c.Body)
	for _, h := range c.Headers {
		size += 8 + len(h.Name) + len(h.Value)
	}
	texts = appendText(make([]byte, 0, size), c.Cluster)
	texts = append(binary.NativeEndian.AppendUint32(texts, uint32(len(c.Body))), c.Body...)
	for _, h := range c.Headers {
		texts = appendText(appendText(texts, h.Name), h.Value)
	}
	return texts, C.uint32_t(2 + 2*len(c.Headers)), C.uint64_t(max(c.Timeout.Milliseconds(), 1))
}

// failedStart says why a callout did not start; nil: it did.
func failedStart(result C.int) *filter.Answer {
	switch result {
	case calloutStarted:
		return nil
	case calloutUnknown:
		return &filter.Answer{Err: "no such cluster"}
	case calloutMissing:
		return &filter.Answer{Err: "missing :method, :path or host"}
	default:
		return &filter.Answer{Err: "cannot send"}
	}
}

// onAnswer resumes the chain with the answer to its Call.
func (s *stream) onAnswer(result C.int, headers []C.mz_header, body []C.mz_text) C.int {
	return s.goOn(answerOf(result, headers, body))
}

// answerOf copies what came back.
func answerOf(result C.int, headers []C.mz_header, body []C.mz_text) *filter.Answer {
	a := &filter.Answer{}
	switch result {
	case calloutAnswered:
		for _, h := range headers {
			a.Headers = append(a.Headers, filter.Header{Name: string(bytesOf(h.name)), Value: string(bytesOf(h.value))})
		}
		for _, b := range body {
			a.Body = append(a.Body, bytesOf(b)...)
		}
	case calloutReset:
		a.Err = "reset"
	default:
		a.Err = "answer too large"
	}
	return a
}
