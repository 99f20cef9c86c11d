package golang

import (
	"strings"
	"sync"

	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Contrib's metrics have no labels, so labels become part of the name:
//
//	mizzen.canary_decisions_total.rule.everyone.destination.v2.sticky.cookie
//
// Characters of a value other than letters, digits, "-" and "_" become "_", and an empty value "none". Envoy's
// stats_tags can turn them into labels again. A series is defined when it first counts.

// maxSeries bounds the series of a listener; what goes beyond counts in the series "<metric>.other".
const maxSeries = 4096

// maxLabels bounds the labels of a metric.
const maxLabels = 4

// other stands for the label values of the series that were too many.
const other = "\x00other"

type seriesKey struct {
	metric *filter.Metric
	labels [maxLabels]string
}

// ledger holds the series of one listener. All workers share it.
type ledger struct {
	define api.ConfigCallbackHandler

	mu    sync.RWMutex // guards known
	known map[seriesKey]increment
}

// increment moves one of Envoy's counters or gauges.
type increment interface{ Increment(n int64) }

func newLedger(define api.ConfigCallbackHandler) *ledger {
	return &ledger{define: define, known: map[seriesKey]increment{}}
}

// count adds n. It may panic as the SDK does when the listener is gone.
func (l *ledger) count(m *filter.Metric, n int64, labels []string) {
	if len(labels) != len(m.Labels) || len(labels) > maxLabels || n == 0 {
		return
	}
	k := seriesKey{metric: m}
	copy(k.labels[:], labels)
	l.mu.RLock()
	s := l.known[k]
	l.mu.RUnlock()
	if s == nil {
		s = l.add(k)
	}
	s.Increment(n)
}

func (l *ledger) add(k seriesKey) increment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxSeries {
		k.labels = [maxLabels]string{other}
	}
	if s := l.known[k]; s != nil {
		return s
	}
	for i := range k.labels {
		k.labels[i] = strings.Clone(k.labels[i])
	}
	var s increment
	if name := seriesName(k); k.metric.Gauge {
		s = l.define.DefineGaugeMetric(name)
	} else {
		s = l.define.DefineCounterMetric(name)
	}
	l.known[k] = s
	return s
}

// seriesName is the name of a series in Envoy.
func seriesName(k seriesKey) string {
	var b strings.Builder
	b.WriteString(Namespace + "." + k.metric.Name)
	if k.labels[0] == other {
		b.WriteString(".other")
		return b.String()
	}
	for i, label := range k.metric.Labels {
		b.WriteString("." + label + "." + tidy(k.labels[i]))
	}
	return b.String()
}

// tidy makes a label's value fit for one segment of a name.
func tidy(value string) string {
	if value == "" {
		return "none"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, value)
}
