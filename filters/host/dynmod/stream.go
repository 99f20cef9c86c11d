package dynmod

// #include "envoy.h"
import "C"

import (
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// stream is the Go half of one HTTP stream passing through the chain. All its methods run on the stream's worker
// thread. It is made once for each C half and used for one exchange after another.
//
// Envoy may end a stream inside a call that answers or continues it. Such calls are made by C alone, after Go has
// returned, so Go never meets itself.
type stream struct {
	c        *C.mz_stream
	run      filter.Run
	listener *listener
	script   script
	request  filter.Headers
	response filter.Headers
	kept     [2]snapshot
	waiting  *alarm
	waits    uint64 // numbers alarms, so that a late one is known
	back     bool   // it waits on the response side
}

func newStream(c *C.mz_stream) *stream { return &stream{c: c} }

// random draws from the runtime's per-thread generator: safe and without locks.
type random struct{}

func (random) Uint64() uint64 { return rand.Uint64() }

// yieldEvery bounds how long a worker serves without telling Go's scheduler: see yield.
const yieldEvery = int64(8 * time.Millisecond)

// yield keeps Go's monitor thread asleep. To Go, a thread of C that calls again and again looks like one goroutine
// that runs for ever: after 10 ms the monitor takes the processor (P) away whenever the thread is back in C, the next
// call wakes the monitor up again, and each request pays for that with some microseconds in two threads. A goroutine
// that yields now and then is left alone.
func (s *stream) yield(now time.Time) {
	if n := now.UnixNano(); n-int64(s.c.worker.yielded) > yieldEvery {
		s.c.worker.yielded = C.int64_t(n)
		runtime.Gosched()
	}
}

// recovered is deferred in every visit from C. Policies are guarded by filter.Run; this is for the host itself: better
// a request that goes on than one that hangs.
func (s *stream) recovered() {
	if e := recover(); e != nil {
		logError("mizzen: panic in the module: " + asText(e))
		s.countPanic()
		s.c.end = true // policies may hold something
	}
}

// countPanic counts a panic of the host itself. The visit's script may be half written: it is not touched, and what is counted
// is told with the next exchange.
func (s *stream) countPanic() {
	defer func() { _ = recover() }() // whatever is broken, Envoy lives
	if s.c.base != nil {
		(*listener)(s.c.base.program).ledger.count(nil, filter.MetricPanics, 1, []string{"host"})
	}
}

// maxKept bounds the memory for header text that a stream keeps from one exchange to the next.
const maxKept = 16 << 10

// leave tells C what is wanted: the script, and which visits.
func (s *stream) leave() {
	s.c.response = C.bool(!s.run.Over())
	s.c.end = s.c.response || s.waiting != nil
	s.script.close()
	if s.c.end {
		return
	}
	if later := s.run.Later(); len(later) > 0 {
		s.script.open(&s.c.later)
		s.script.edits(C.MZ_RESPONSE, later)
		s.script.close()
	}
	s.release()
}

// release forgets the exchange, so that a stream that waits for its next one holds on to no policy.
func (s *stream) release() {
	s.run.Reset()
	s.listener, s.waiting, s.back = nil, nil, false
	for i := range s.kept {
		if cap(s.kept[i].block) > maxKept {
			s.kept[i] = snapshot{}
		}
	}
}

// onRequest runs the request side of the chain.
func (s *stream) onRequest() C.int {
	defer s.recovered()
	now := time.Now()
	s.yield(now)
	s.reset()
	s.run.Exchange.Now = now
	s.listener.ledger.begin(&s.script, now)
	v := s.advance()
	s.leave()
	return v
}

// reset begins an exchange.
func (s *stream) reset() {
	if s.listener != nil {
		s.release() // a panic in the host kept it
	}
	s.listener = (*listener)(s.c.base.program)
	s.script.open(&s.c.now)
	x := &s.run.Exchange
	x.Host, x.Rand, x.Request = s, random{}, &s.request
	s.request.ResetLazy(s)
	s.response.Reset(nil)
}

// advance runs the request side until it ends or the stream has to stop here.
func (s *stream) advance() C.int {
	for {
		v := s.run.Request(s.listener.program, s.route())
		switch {
		case v.Reply != nil:
			s.writeRequest()
			s.reply(v.Reply)
			return C.MZ_STOP
		case v.Wait > 0:
			s.wait(v.Wait)
			return C.MZ_STOP
		case v.Call != nil:
			a := s.call(v.Call)
			if a == nil {
				return C.MZ_STOP
			}
			s.run.Resume(a)
		default:
			s.writeRequest()
			if !v.Reroute {
				return C.MZ_GO_ON
			}
			s.script.close()
			C.mz_reroute(s.c)
			s.script.open(&s.c.now)
		}
	}
}

func (s *stream) writeRequest() { s.script.edits(C.MZ_REQUEST, s.request.TakeEdits()) }

// route is the program of the most specific level that has one, nil if none does.
func (s *stream) route() *filter.Program {
	if s.c.route == nil {
		return nil
	}
	return (*filter.Program)(s.c.route.program)
}

// onResponse runs the response side of the chain. C does not call it for our own local replies: reply runs it before
// it sends them.
func (s *stream) onResponse() C.int {
	defer s.recovered()
	s.script.open(&s.c.now)
	s.response.ResetLazy(responseLoader{s})
	v := s.retreat()
	s.leave()
	return v
}

// retreat runs the response side until it ends or the stream has to stop here.
func (s *stream) retreat() C.int {
	x := &s.run.Exchange
	x.Now, x.Response = time.Now(), &s.response
	v := s.run.Response(s.listener.program)
	switch {
	case v.Reply != nil:
		s.reply(v.Reply)
		return C.MZ_STOP
	case v.Wait > 0:
		s.back = true
		s.wait(v.Wait)
		return C.MZ_STOP
	}
	s.script.edits(C.MZ_RESPONSE, s.response.TakeEdits())
	return C.MZ_GO_ON_RESPONSE
}

// onResume ends a Wait.
func (s *stream) onResume(id uint64) C.int {
	if s.waiting == nil || s.waits != id {
		return C.MZ_STOP // too late
	}
	s.waiting = nil
	return s.goOn(nil)
}

// goOn resumes a stopped stream; a is the answer to its Call, nil after a Wait.
func (s *stream) goOn(a *filter.Answer) (v C.int) {
	v = C.MZ_GO_ON
	if s.back {
		v = C.MZ_GO_ON_RESPONSE
	}
	defer s.recovered()
	s.script.open(&s.c.now)
	s.run.Resume(a)
	if s.back {
		v = s.retreat()
	} else {
		s.run.Exchange.Now = time.Now()
		v = s.advance()
	}
	s.leave()
	return v
}

// onEnd is the last moment in which policies may count. last: no other exchange of the listener is in progress.
func (s *stream) onEnd(last bool) {
	defer s.recovered()
	s.script.open(&s.c.now)
	if s.waiting != nil {
		s.waiting.stop()
		s.waiting = nil
	}
	l := (*listener)(s.c.base.program)
	s.run.Exchange.Now = time.Now()
	s.run.End(l.program)
	if last {
		l.ledger.flush(&s.script)
	}
	s.script.close()
	s.release()
}
