package host

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// stream is one HTTP stream passing through the chain.
type stream struct {
	types.DefaultHttpContext
	run      filter.Run
	plugin   *plugin
	id       uint32 // of the context; ids are not used twice in a VM
	request  filter.Headers
	response filter.Headers

	paused   bool   // Envoy holds the stream for us
	waiting  bool   // it stands among the plugin's waits
	back     bool   // the response has come
	replied  bool   // the answer is our own
	rerouted bool   // the route was selected anew
	flags    string // access-log flags so far
	ended    bool   // policies know that the exchange is over

	entries  [2][]filter.Header // backing arrays of the snapshots, kept for reuse
	loadReq  requestLoader
	loadResp responseLoader
}

// random draws from the runtime's generator, which Envoy seeds.
type random struct{}

// Uint64 implements filter.Rand.
func (random) Uint64() uint64 { return rand.Uint64() }

func (s *stream) begin(p *plugin, id uint32) {
	req, resp, entries := s.request, s.response, s.entries
	req.Reset(nil)
	resp.Reset(nil)
	clear(entries[0][:cap(entries[0])])
	clear(entries[1][:cap(entries[1])])
	*s = stream{plugin: p, id: id, request: req, response: resp, entries: entries}
	s.loadReq.s, s.loadResp.s = s, s
	x := &s.run.Exchange
	x.Host, x.Rand, x.Request = s, random{}, &s.request
	s.request.ResetLazy(&s.loadReq)
}

// guard runs fn and recovers from a panic in the host itself; policies are guarded by filter.Run. After one panic that
// leaves the VM, Envoy would answer 503 to everything. The request goes on, or is answered with 500 if the program
// fails closed.
func (s *stream) guard(fn func()) {
	defer func() {
		e := recover()
		if e == nil {
			return
		}
		proxywasm.LogErrorf("mizzen: panic in the module: %v", e)
		s.rescue()
	}()
	fn()
}

func (s *stream) rescue() {
	defer func() { _ = recover() }() // what can still fail here must not end the VM either
	s.plugin.metrics.count(filter.MetricPanics, 1, []string{"host"})
	if s.ended || s.replied {
		return
	}
	if s.plugin.program.FailClosed {
		s.replied, s.paused = true, true
		_ = sendLocalResponse(500, "mizzen_panic", nil, "mizzen: internal error\n", -1)
		return
	}
	s.resume()
}

// OnHttpRequestHeaders runs the request side of the chain.
func (s *stream) OnHttpRequestHeaders(int, bool) (a types.Action) {
	defer func() { a = s.action() }()
	s.guard(func() {
		s.run.Exchange.Now = time.Now()
		s.hold(!s.advance())
	})
	return
}

// OnHttpResponseHeaders runs the response side of the chain, except for a local reply of our own: reply has run it.
func (s *stream) OnHttpResponseHeaders(int, bool) (a types.Action) {
	if s.replied {
		return types.ActionContinue
	}
	s.back, s.paused = true, false
	defer func() { a = s.action() }()
	s.guard(func() {
		s.response.ResetLazy(&s.loadResp)
		s.hold(!s.retreat())
	})
	return
}

// OnHttpStreamDone is the last call for a stream: policies may count here.
func (s *stream) OnHttpStreamDone() {
	if s.ended {
		return
	}
	s.guard(func() {
		s.ended = true
		if s.waiting {
			s.plugin.waits.drop(s)
		}
		s.run.Exchange.Now = time.Now()
		s.run.End(s.plugin.program)
	})
	s.plugin.release(s)
}

func (s *stream) hold(paused bool) { s.paused = paused }

func (s *stream) action() types.Action {
	if s.paused {
		return types.ActionPause
	}
	return types.ActionContinue
}

// advance runs the request side until it ends (true) or the stream has to stop here (false).
func (s *stream) advance() bool {
	for {
		route, err := s.route()
		if err != nil && s.refuseRoute() {
			return false
		}
		v := s.run.Request(s.plugin.program, route)
		switch {
		case v.Reply != nil:
			writeRequest(s.request.TakeEdits())
			s.reply(v.Reply)
			return false
		case v.Wait > 0:
			s.wait(v.Wait)
			return false
		case v.Call != nil:
			a := s.call(v.Call)
			if a == nil {
				return false
			}
			s.run.Resume(a)
		default:
			if !v.Reroute && !s.run.Over() {
				s.request.All() // who sees the response may look at the request, which Envoy no longer shows then
			}
			writeRequest(s.request.TakeEdits())
			if !v.Reroute {
				return true
			}
			clearRouteCache()
			s.rerouted = true
		}
	}
}

// refuseRoute counts a wrong configuration of a route; true: it answers the request.
func (s *stream) refuseRoute() bool {
	s.Count(MetricRouteErrors, 1)
	if !s.plugin.program.FailClosed {
		return false
	}
	s.replied = true
	if err := sendLocalResponse(500, "mizzen_route_config", nil, "mizzen: the route's configuration is wrong\n", -1); err != nil {
		proxywasm.LogErrorf("mizzen: %v", err)
	}
	return true
}

// retreat runs the response side until it ends (true) or the stream has to stop here (false).
func (s *stream) retreat() bool {
	x := &s.run.Exchange
	x.Now, x.Response = time.Now(), &s.response
	v := s.run.Response(s.plugin.program)
	switch {
	case v.Reply != nil:
		s.reply(v.Reply)
		return false
	case v.Wait > 0:
		s.wait(v.Wait)
		return false
	}
	writeResponse(s.response.TakeEdits())
	return true
}

// wait stops the stream until d is over.
func (s *stream) wait(d time.Duration) {
	s.waiting = true
	s.plugin.wait(s, s.run.Exchange.Now.Add(d))
}

// wake ends a Wait.
func (s *stream) wake() {
	s.waiting = false
	s.guard(func() {
		s.run.Exchange.Now = time.Now()
		s.run.Resume(nil)
		if s.back {
			if s.retreat() {
				s.resume()
			}
			return
		}
		s.goOn()
	})
}

// goOn carries a stopped request on.
func (s *stream) goOn() {
	if s.advance() {
		s.resume()
	}
}

// resume lets Envoy go on with a stream that it holds.
func (s *stream) resume() {
	if !s.paused {
		return
	}
	s.paused = false
	var err error
	if s.back {
		err = proxywasm.ResumeHttpResponse()
	} else {
		err = proxywasm.ResumeHttpRequest()
	}
	if err != nil {
		proxywasm.LogErrorf("mizzen: resume: %v", fmt.Errorf("stream %d: %w", s.id, err))
	}
}
