package dynmod

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// streams holds stream structs for reuse: a request allocates little.
var streams = sync.Pool{New: func() any { return new(stream) }}

// stream is one HTTP stream passing through the chain. All its methods run on the stream's worker thread.
//
// Envoy may end a stream inside a call that we make (a local reply, continuing a stopped request), so nothing but
// depth and gone may be touched after such a call; see enter and leave.
type stream struct {
	shared.EmptyHttpFilter
	run      filter.Run
	listener *listener
	h        shared.HttpFilterHandle
	request  filter.Headers
	response filter.Headers

	depth   int  // callbacks from Envoy in progress
	gone    bool // Envoy has destroyed the filter
	ended   bool // policies know that the exchange is over
	counted bool // it counts among the ledger's active streams
	timer   *time.Timer

	entries  [2][]filter.Header // backing arrays of the snapshots, kept for reuse
	loadReq  requestLoader
	loadResp responseLoader
}

// random draws from the runtime's per-thread generator: safe and without locks.
type random struct{}

func (random) Uint64() uint64 { return rand.Uint64() }

func (s *stream) begin(l *listener, h shared.HttpFilterHandle) {
	s.listener, s.h = l, h
	s.loadReq.s, s.loadResp.s = s, s
	x := &s.run.Exchange
	x.Host, x.Rand, x.Request = s, random{}, &s.request
	s.request.ResetLazy(&s.loadReq)
}

// enter and leave bracket every callback from Envoy. leave recovers from panics in the host itself (policies are
// guarded by filter.Run) and gives the struct back when the stream ended inside the callback.
func (s *stream) enter() { s.depth++ }

func (s *stream) leave() {
	if e := recover(); e != nil && !s.gone {
		s.h.Log(shared.LogLevelError, "mizzen: panic in the module: %v", e)
	}
	s.depth--
	if s.gone && s.depth == 0 {
		s.release()
	}
}

// release empties s but keeps its arrays.
func (s *stream) release() {
	req, resp, entries := s.request, s.response, s.entries
	req.Reset(nil)
	resp.Reset(nil)
	clear(entries[0][:cap(entries[0])])
	clear(entries[1][:cap(entries[1])])
	*s = stream{request: req, response: resp, entries: entries}
	streams.Put(s)
}

// OnRequestHeaders runs the request side of the chain.
func (s *stream) OnRequestHeaders(shared.HeaderMap, bool) shared.HeadersStatus {
	s.enter()
	defer s.leave()
	s.counted = true
	s.run.Exchange.Now = time.Now()
	s.listener.ledger.begin(s.h, s.run.Exchange.Now)
	if s.advance() {
		return shared.HeadersStatusContinue
	}
	return shared.HeadersStatusStopAllAndWatermark
}

// advance runs the request side until it ends (true) or the stream has to stop here (false).
func (s *stream) advance() bool {
	for {
		v := s.run.Request(s.listener.program, s.route())
		switch {
		case v.Reply != nil:
			write(s.h.RequestHeaders(), s.request.TakeEdits())
			s.reply(v.Reply)
			return false
		case v.Wait > 0:
			s.wait(v.Wait, s.resumeRequest)
			return false
		case v.Call != nil:
			a := s.call(v.Call)
			if a == nil {
				return false
			}
			s.run.Resume(a)
		default:
			write(s.h.RequestHeaders(), s.request.TakeEdits())
			if !v.Reroute {
				return true
			}
			s.h.ClearRouteCache()
		}
	}
}

// route is the program of the most specific level that has one, nil if none does.
func (s *stream) route() *filter.Program {
	p, _ := s.h.GetMostSpecificConfig().(*filter.Program)
	return p
}

// goOn resumes a stopped request.
func (s *stream) goOn() {
	ahead := true // also after a panic in the host: better a request that goes on than one that hangs
	defer func() {
		if ahead {
			s.h.ContinueRequest() // may end the stream: nothing may follow
		}
	}()
	s.run.Exchange.Now = time.Now()
	ahead = s.advance()
}

// OnResponseHeaders runs the response side of the chain. The SDK does not call it for our own local replies: reply
// runs it before it sends them.
func (s *stream) OnResponseHeaders(shared.HeaderMap, bool) shared.HeadersStatus {
	s.enter()
	defer s.leave()
	s.response.ResetLazy(&s.loadResp)
	if s.retreat() {
		return shared.HeadersStatusContinue
	}
	return shared.HeadersStatusStopAllAndWatermark
}

// retreat runs the response side until it ends (true) or the stream has to stop here (false).
func (s *stream) retreat() bool {
	x := &s.run.Exchange
	x.Now, x.Response = time.Now(), &s.response
	v := s.run.Response(s.listener.program)
	switch {
	case v.Reply != nil:
		s.reply(v.Reply)
		return false
	case v.Wait > 0:
		s.wait(v.Wait, s.resumeResponse)
		return false
	}
	write(s.h.ResponseHeaders(), s.response.TakeEdits())
	return true
}

// OnStreamComplete is the last call in which policies may count.
func (s *stream) OnStreamComplete() {
	s.enter()
	defer s.leave()
	s.end()
}

// OnDestroy is the last call of all.
func (s *stream) OnDestroy() {
	s.enter()
	defer s.leave()
	s.end()
	s.gone = true
}

func (s *stream) end() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if !s.ended {
		s.ended = true
		s.run.End(s.listener.program)
		if s.counted {
			s.listener.ledger.end(s.h)
		}
	}
}
