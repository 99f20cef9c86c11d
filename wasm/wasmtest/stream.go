package wasmtest

import (
	"maps"
	"strconv"
)

// Reply is a local reply of the module's: the exchange ends with it.
type Reply struct {
	Status  int
	Details string
	// Headers as the module gave them, changed by what its own response callback did to them.
	Headers Headers
	Body    string
	// GRPCStatus is -1 if none was given.
	GRPCStatus int
}

// Stream is one HTTP exchange. The test plays client and upstream: it opens the stream with VM.Request, may look at
// what the upstream would get, answers with Response, looks at what the client would get, and ends it with End.
type Stream struct {
	vm         *VM
	id         uint32
	maps       [4]Headers // by the ABI's map type: request headers and trailers, response headers and trailers
	buffers    [2][]byte  // request and response body that the module sees
	passed     [2][]byte  // what has gone on
	paused     [2]bool    // by the module's last callback of the side
	stopped    [2]bool    // by its callback for headers
	resumed    [2]bool    // inside the callback that is running
	queue      [2][]func()
	reply      *Reply
	answered   bool // the reply has passed through the module's own response callback
	ended      bool
	properties map[string]string
}

// Map types and body types of the ABI.
const (
	requestHeaders = iota
	requestTrailers
	responseHeaders
	responseTrailers

	requestSide  = 0
	responseSide = 1
)

// Request opens a stream with a request that has no body. ":method", ":path", ":scheme" and ":authority" are filled in
// where absent. Each of properties adds to, or takes the place of, the VM's for this stream.
func (v *VM) Request(h Headers, properties ...map[string]string) *Stream {
	return v.RequestHeaders(h, true, properties...)
}

// RequestHeaders is Request for a request that goes on with RequestBody or RequestTrailers unless end.
func (v *VM) RequestHeaders(h Headers, end bool, properties ...map[string]string) *Stream {
	v.lastID++
	s := &Stream{vm: v, id: v.lastID, properties: map[string]string{}}
	for _, p := range properties {
		maps.Copy(s.properties, p)
	}
	for _, d := range [...][2]string{{":method", "GET"}, {":path", "/"}, {":scheme", "http"}, {":authority", "example.test"}} {
		if !h.Has(d[0]) {
			s.maps[requestHeaders] = append(s.maps[requestHeaders], d)
		}
	}
	s.maps[requestHeaders] = append(s.maps[requestHeaders], h...)
	v.streams[s.id] = s
	v.call("proxy_on_context_create", uint64(s.id), pluginID)
	s.headers(requestSide, "proxy_on_request_headers", requestHeaders, end)
	return s
}

// RequestBody sends a piece of the request's body.
func (s *Stream) RequestBody(data []byte, end bool) {
	s.body(requestSide, "proxy_on_request_body", data, end)
}

// RequestTrailers ends the request with trailers.
func (s *Stream) RequestTrailers(h Headers) {
	s.trailers(requestSide, "proxy_on_request_trailers", requestTrailers, h)
}

// Response answers with a response that has no body. ":status" is 200 where absent. A stream whose request waits, or
// that has got a local reply, must not be answered: the call does nothing then.
func (s *Stream) Response(h Headers) { s.ResponseHeaders(h, true) }

// ResponseHeaders is Response for a response that goes on with ResponseBody or ResponseTrailers unless end.
func (s *Stream) ResponseHeaders(h Headers, end bool) {
	if s.ended || s.reply != nil || s.paused[requestSide] {
		return
	}
	s.maps[responseHeaders] = nil
	if !h.Has(":status") {
		s.maps[responseHeaders] = Headers{{":status", "200"}}
	}
	s.maps[responseHeaders] = append(s.maps[responseHeaders], h...)
	s.headers(responseSide, "proxy_on_response_headers", responseHeaders, end)
}

// ResponseBody sends a piece of the response's body.
func (s *Stream) ResponseBody(data []byte, end bool) {
	s.body(responseSide, "proxy_on_response_body", data, end)
}

// ResponseTrailers ends the response with trailers.
func (s *Stream) ResponseTrailers(h Headers) {
	s.trailers(responseSide, "proxy_on_response_trailers", responseTrailers, h)
}

// End ends the stream: the exchange is over, or the client has gone away. Ending it again does nothing.
func (s *Stream) End() {
	if s.ended {
		return
	}
	s.ended = true
	s.vm.call("proxy_on_done", uint64(s.id))
	s.vm.call("proxy_on_log", uint64(s.id))
	delete(s.vm.streams, s.id)
	s.vm.call("proxy_on_delete", uint64(s.id))
}

// Paused tells whether the module holds the stream, on either side.
func (s *Stream) Paused() bool { return s.paused[requestSide] || s.paused[responseSide] }

// Reply is the module's local reply, nil if there is none.
func (s *Stream) Reply() *Reply { return s.reply }

// Upstream is the request's header map as the upstream gets it, unless Paused or answered by a Reply.
func (s *Stream) Upstream() Headers { return s.maps[requestHeaders] }

// UpstreamTrailers are the request's trailers as the upstream gets them.
func (s *Stream) UpstreamTrailers() Headers { return s.maps[requestTrailers] }

// UpstreamBody is what has reached the upstream of the request's body.
func (s *Stream) UpstreamBody() []byte { return s.passed[requestSide] }

// Downstream is the response's header map as the client gets it, unless Paused.
func (s *Stream) Downstream() Headers { return s.maps[responseHeaders] }

// DownstreamTrailers are the response's trailers as the client gets them.
func (s *Stream) DownstreamTrailers() Headers { return s.maps[responseTrailers] }

// DownstreamBody is what has reached the client of the response's body.
func (s *Stream) DownstreamBody() []byte { return s.passed[responseSide] }

// Property is what the module set with proxy_set_property, or else the test's.
func (s *Stream) Property(path string) string {
	if p, ok := s.properties[path]; ok {
		return p
	}
	return s.vm.options.Properties[path]
}

func (s *Stream) headers(side int, callback string, m int, end bool) {
	s.run(side, callback, uint64(len(s.maps[m])), flag(end))
	s.stopped[side] = s.paused[side]
}

func (s *Stream) body(side int, callback string, data []byte, end bool) {
	s.later(side, func() {
		s.buffers[side] = append(s.buffers[side], data...)
		s.run(side, callback, uint64(len(s.buffers[side])), flag(end))
	})
}

func (s *Stream) trailers(side int, callback string, m int, h Headers) {
	s.later(side, func() {
		s.maps[m] = h
		s.run(side, callback, uint64(len(h)))
	})
}

// later does deliver, but not before the module lets go of the headers: Envoy keeps a body back until then.
func (s *Stream) later(side int, deliver func()) {
	switch {
	case s.ended || s.reply != nil:
	case s.stopped[side]:
		s.queue[side] = append(s.queue[side], deliver)
	default:
		deliver()
	}
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// run calls the module about s and then does what it asked for.
func (s *Stream) run(side int, callback string, args ...uint64) {
	if s.ended {
		return
	}
	s.resumed[side] = false
	s.paused[side] = s.vm.call(callback, append([]uint64{uint64(s.id)}, args...)...) != 0 && !s.resumed[side]
	s.pass(side)
	s.vm.settle()
}

// pass lets the buffered body go on unless the module holds it.
func (s *Stream) pass(side int) {
	if !s.paused[side] {
		s.passed[side] = append(s.passed[side], s.buffers[side]...)
		s.buffers[side] = nil
	}
}

// settle does what the module asked for and Envoy does after the call: it delivers what the module's pause kept back,
// and sends a local reply through the module's own response callback.
func (s *Stream) settle() {
	if s.reply != nil {
		s.answer()
		return
	}
	for side := range s.queue {
		for len(s.queue[side]) > 0 && !s.stopped[side] {
			deliver := s.queue[side][0]
			s.queue[side] = s.queue[side][1:]
			deliver()
		}
	}
}

func (s *Stream) answer() {
	if s.answered || s.ended {
		return
	}
	s.answered = true
	s.paused, s.stopped = [2]bool{}, [2]bool{}
	s.buffers, s.queue = [2][]byte{}, [2][]func(){}
	s.maps[responseHeaders] = append(Headers{{":status", strconv.Itoa(s.reply.Status)}}, s.reply.Headers...)
	s.headers(responseSide, "proxy_on_response_headers", responseHeaders, s.reply.Body == "")
	s.reply.Headers = s.maps[responseHeaders].without(":status")
	s.reply.Status, _ = strconv.Atoi(s.maps[responseHeaders].Get(":status"))
}

// resume is proxy_continue_stream.
func (s *Stream) resume(side int) {
	s.paused[side], s.stopped[side], s.resumed[side] = false, false, true
	s.pass(side)
}
