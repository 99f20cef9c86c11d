package golang

import (
	"net/netip"
	"strings"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// The methods of filter.Host. They run with s.mu held, on the worker or on a timer's goroutine: none of them may wait
// for the worker, which may be waiting for s.mu. So they use StreamInfo and never GetProperty (but see property).

// RouteName reads the name of the selected route.
func (s *stream) RouteName() string { return s.cb.StreamInfo().GetRouteName() }

// SourceAddress reads the trusted client address, which Envoy gives with its port.
func (s *stream) SourceAddress() string {
	text := s.cb.StreamInfo().DownstreamRemoteAddress()
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().String()
	}
	return strings.TrimSuffix(text, ":0") // a pipe or an internal listener
}

// Count moves a metric. The SDK panics when the listener is gone: then there is nobody to tell. Any other panic is counted.
func (s *stream) Count(m *filter.Metric, n int64, labels ...string) {
	if s.ledger == nil {
		return
	}
	defer s.recovered()
	s.ledger.count(m, n, labels)
}

// Annotate writes dynamic metadata. The SDK panics when the stream is gone, or not in Go's hands: it is too late then.
func (s *stream) Annotate(key, value string) {
	defer func() { _ = recover() }()
	s.cb.StreamInfo().DynamicMetadata().Set(Namespace, key, value)
}

// Flag cannot add an access-log response flag here: contrib has no such call. It is written to the dynamic metadata
// instead, as mizzen:flags, several joined with ",".
func (s *stream) Flag(code string) {
	if s.flags != "" {
		code = s.flags + "," + code
	}
	s.flags = code
	s.Annotate("flags", code)
}

// recovered is deferred in Count.
func (s *stream) recovered() {
	if recover() == nil {
		return
	}
	defer func() { _ = recover() }() // the listener is gone too
	s.ledger.count(filter.MetricPanics, 1, []string{"host"})
}
