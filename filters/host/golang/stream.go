package golang

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// stream is one HTTP stream passing through the chain (api.StreamFilter).
//
// Envoy calls it on the stream's worker; a Wait ends on a goroutine of its own, and contrib has no way back to the
// worker from there. So mu guards everything. It is held while policies run, and none of what is called with it
// held waits for the worker.
type stream struct {
	api.PassThroughStreamFilter
	parser   *Parser
	program  *filter.Program // guarded by mu
	listener *filter.Program // nil: not known
	ledger   *ledger         // nil: nothing is counted
	cb       api.FilterCallbackHandler

	mu       sync.Mutex
	run      filter.Run
	request  filter.Headers
	response filter.Headers
	reqMap   api.HeaderMap // valid from DecodeHeaders until the request goes on
	respMap  api.HeaderMap // likewise
	pending  *waiting      // the Wait in progress, nil if none
	ended    bool          // policies know that the exchange is over
	flags    string        // what Flag has told
}

// random draws from the runtime's per-thread generator: safe and without locks.
type random struct{}

func (random) Uint64() uint64 { return rand.Uint64() }

func (s *stream) begin() {
	x := &s.run.Exchange
	x.Host, x.Rand, x.Request = s, random{}, &s.request
}

// DecodeHeaders runs the request side of the chain.
func (s *stream) DecodeHeaders(m api.RequestHeaderMap, _ bool) api.StatusType {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reqMap = m
	s.request.ResetLazy(&loader{m})
	return s.advance(true)
}

// advance runs the request side until it ends (Continue), waits (Running) or is answered (LocalReply). worker tells
// whether it is called on the stream's worker.
func (s *stream) advance(worker bool) api.StatusType {
	s.run.Exchange.Now = time.Now()
	for {
		v := s.run.Request(s.program, nil)
		switch {
		case v.Reply != nil:
			write(s.reqMap, s.request.TakeEdits())
			s.reply(s.cb.DecoderFilterCallbacks(), v.Reply)
			return api.LocalReply
		case v.Wait > 0:
			s.wait(v.Wait, s.resumeRequest)
			return api.Running
		case v.Call != nil:
			s.run.Resume(&filter.Answer{Err: "this host makes no calls"})
		default:
			write(s.reqMap, s.request.TakeEdits())
			if !v.Reroute {
				return api.Continue
			}
			if !s.reroute(worker) {
				return api.Running // answered meanwhile
			}
		}
	}
}

// EncodeHeaders runs the response side of the chain, for local replies too: our own, and those of Envoy, which may
// come while the request waits. Then that Wait is over.
func (s *stream) EncodeHeaders(m api.ResponseHeaderMap, _ bool) api.StatusType {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	s.respMap = m
	s.response.ResetLazy(&loader{m})
	return s.retreat()
}

// retreat is advance for the response side.
func (s *stream) retreat() api.StatusType {
	x := &s.run.Exchange
	x.Now, x.Response = time.Now(), &s.response
	v := s.run.Response(s.program)
	switch {
	case v.Reply != nil:
		s.replyInstead(v.Reply)
		return api.LocalReply
	case v.Wait > 0:
		s.wait(v.Wait, s.resumeResponse)
		return api.Running
	}
	write(s.respMap, s.response.TakeEdits())
	return api.Continue
}

// waiting is one Wait in progress.
type waiting struct{ timer *time.Timer }

// wait calls resume after d, on a goroutine of its own, unless the wait is stopped before.
func (s *stream) wait(d time.Duration, resume func(*waiting)) {
	w := &waiting{}
	w.timer = time.AfterFunc(d, func() { resume(w) })
	s.pending = w
}

// stop ends a Wait without resuming.
func (s *stream) stop() {
	if s.pending != nil {
		s.pending.timer.Stop()
		s.pending = nil
	}
}

// over tells, with mu held, whether w is the Wait in progress, and ends it.
func (s *stream) over(w *waiting) bool {
	if s.ended || s.pending != w {
		return false
	}
	s.pending = nil
	s.run.Resume(nil)
	return true
}

// resumeRequest ends a Wait on the request side.
func (s *stream) resumeRequest(w *waiting) {
	to := s.cb.DecoderFilterCallbacks()
	defer to.RecoverPanic() // the stream may have gone meanwhile: then the SDK panics
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over(w) && s.advance(false) == api.Continue {
		to.Continue(api.Continue)
	}
}

// resumeResponse ends a Wait on the response side.
func (s *stream) resumeResponse(w *waiting) {
	to := s.cb.EncoderFilterCallbacks()
	defer to.RecoverPanic()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over(w) && s.retreat() == api.Continue {
		to.Continue(api.Continue)
	}
}

// OnStreamComplete is the last call in which policies may annotate.
func (s *stream) OnStreamComplete() { s.end() }

// OnDestroy is the last call of all.
func (s *stream) OnDestroy(api.DestroyReason) { s.end() }

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	if !s.ended {
		s.ended = true
		s.run.End(s.program)
	}
}
