package dynmod

import (
	"net/netip"
	"strings"
	"time"

	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// The methods of filter.Host.

// RouteName reads the name of the selected route.
func (s *stream) RouteName() string {
	b, _ := s.h.GetAttributeString(shared.AttributeIDXdsRouteName)
	return b.ToString()
}

// SourceAddress reads the trusted client address, which Envoy gives with its port.
func (s *stream) SourceAddress() string {
	b, _ := s.h.GetAttributeString(shared.AttributeIDSourceAddress)
	text := b.ToString()
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().String()
	}
	return strings.TrimSuffix(text, ":0") // a pipe or an internal listener
}

// Count moves a metric.
func (s *stream) Count(m *filter.Metric, n int64, labels ...string) {
	s.listener.ledger.count(s.h, m, n, labels)
}

// Annotate writes dynamic metadata.
func (s *stream) Annotate(key, value string) { s.h.SetMetadata(Namespace, key, value) }

// Flag adds an access-log flag.
func (s *stream) Flag(code string) { s.h.AddCustomFlag(code) }

// wait stops the stream's processing for d, then runs resume on the stream's own thread. The timer's goroutine
// touches nothing of the stream: Envoy drops the scheduled call if the stream has ended meanwhile, and the SDK drops
// its tasks.
func (s *stream) wait(d time.Duration, resume func()) {
	sched := s.h.GetScheduler()
	s.timer = time.AfterFunc(d, func() { sched.Schedule(resume) })
}

// resumeRequest ends a Wait on the request side.
func (s *stream) resumeRequest() {
	s.enter()
	defer s.leave()
	if s.ended {
		return
	}
	s.timer = nil
	s.run.Resume(nil)
	s.goOn()
}

// resumeResponse ends a Wait on the response side.
func (s *stream) resumeResponse() {
	s.enter()
	defer s.leave()
	if s.ended {
		return
	}
	s.timer = nil
	s.run.Resume(nil)
	if s.retreat() {
		s.h.ContinueResponse() // may end the stream: nothing may follow
	}
}
