package dynmod

// #include "envoy.h"
import "C"

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// The methods of filter.Host.

// RouteName reads the name of the selected route.
func (s *stream) RouteName() string { return s.attribute(C.MZ_ROUTE_NAME) }

// SourceAddress reads the trusted client address, which Envoy gives with its port.
func (s *stream) SourceAddress() string {
	text := s.attribute(C.MZ_SOURCE_ADDRESS)
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().String()
	}
	return strings.TrimSuffix(text, ":0") // a pipe or an internal listener
}

// Attribute implements filter.Attributes.
func (s *stream) Attribute(a filter.Attribute) string {
	switch a {
	case filter.UpstreamAddress:
		return s.attribute(C.MZ_UPSTREAM_ADDRESS)
	case filter.UpstreamCluster:
		return string(bytesOf(C.mz_cluster(s.c))) // Envoy 1.39 does not tell the attribute
	case filter.ResponseDetails:
		return s.attribute(C.MZ_RESPONSE_DETAILS)
	case filter.ResponseCode:
		return s.number(C.MZ_RESPONSE_CODE)
	case filter.GRPCStatus:
		return s.number(C.MZ_GRPC_STATUS)
	case filter.SpanTraceID:
		return s.span(C.MZ_TRACE_ID)
	case filter.SpanID:
		return s.span(C.MZ_SPAN_ID)
	}
	return ""
}

func (s *stream) attribute(id C.int) string { return string(bytesOf(C.mz_attribute(s.c, id))) }

func (s *stream) span(part C.int) string { return string(bytesOf(C.mz_span(s.c, part))) }

func (s *stream) number(id C.int) string {
	var n C.uint64_t
	if !C.mz_number(s.c, id, &n) {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// Count moves a metric.
func (s *stream) Count(m *filter.Metric, n int64, labels ...string) {
	if len(labels) != len(m.Labels) {
		logError(fmt.Sprintf("mizzen: metric %s counted with %d labels instead of %d", m.Name, len(labels), len(m.Labels)))
		return
	}
	s.listener.ledger.count(&s.script, m, n, labels)
}

// Annotate writes dynamic metadata.
func (s *stream) Annotate(key, value string) { s.script.annotate(key, value) }

// Flag adds an access-log flag.
func (s *stream) Flag(code string) { s.script.flag(code) }

// alarm is a Wait under way. Its timer touches nothing of the stream: Envoy drops the call if the stream has ended
// meanwhile.
type alarm struct {
	handle unsafe.Pointer // of Envoy's scheduler
	timer  *time.Timer
}

// wait has C resume the stream after d.
func (s *stream) wait(d time.Duration) {
	s.waits++
	id, a := C.uint64_t(s.waits), &alarm{handle: C.mz_alarm(s.c)}
	s.waiting = a
	a.timer = time.AfterFunc(d, func() { C.mz_ring(a.handle, id) })
}

// stop ends a Wait early.
func (a *alarm) stop() {
	if a.timer.Stop() {
		C.mz_cancel(a.handle)
	}
}

func asText(e any) string { return fmt.Sprint(e) }
