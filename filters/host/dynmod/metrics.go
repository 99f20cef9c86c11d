package dynmod

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Moving a labelled counter costs Envoy about as much as ten header reads. So what policies count is added up here,
// and told to Envoy when a stream ends and no other is in progress, and at least every flushEvery while requests come.

const (
	flushEvery = 100 * time.Millisecond
	// maxLabels bounds the key of a series; a metric with more labels is told at once.
	maxLabels = 4
	// maxSeries bounds the series added up; what goes beyond is told at once.
	maxSeries = 4096
)

// seriesKey names a metric with its label values.
type seriesKey struct {
	metric *filter.Metric
	labels [maxLabels]string
}

// series adds up one metric with one set of label values.
type series struct {
	metric  *filter.Metric
	id      shared.MetricID
	labels  []string
	pending atomic.Int64
	queued  atomic.Bool // it stands in ledger.dirty
}

// ledger holds the series of one listener. All workers share it.
type ledger struct {
	// ids are defined while the configuration is made: Envoy freezes metrics afterwards.
	ids map[*filter.Metric]shared.MetricID
	// known is replaced, never changed: reading needs no lock.
	known atomic.Pointer[map[seriesKey]*series]
	// active counts the streams in progress, told is when the sums were told last (Unix nanoseconds).
	active, told atomic.Int64

	mu    sync.Mutex // guards dirty, and replacing known
	dirty []*series
}

func newLedger() *ledger {
	l := &ledger{ids: map[*filter.Metric]shared.MetricID{}}
	l.known.Store(&map[seriesKey]*series{})
	return l
}

// count adds n; h tells what cannot be added up.
func (l *ledger) count(h shared.HttpFilterHandle, m *filter.Metric, n int64, labels []string) {
	if len(labels) != len(m.Labels) {
		h.Log(shared.LogLevelError, "mizzen: metric %s counted with %d labels instead of %d", m.Name, len(labels), len(m.Labels))
		return
	}
	k := seriesKey{metric: m}
	copy(k.labels[:], labels)
	s := (*l.known.Load())[k]
	if s == nil {
		if s = l.add(k, len(labels)); s == nil {
			l.tell(h, m, l.ids[m], n, labels)
			return
		}
	}
	s.pending.Add(n)
	if s.queued.CompareAndSwap(false, true) {
		l.mu.Lock()
		l.dirty = append(l.dirty, s)
		l.mu.Unlock()
	}
}

// add makes a series, nil if there may be no more or the metric is not declared.
func (l *ledger) add(k seriesKey, labels int) *series {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, declared := l.ids[k.metric]
	known := *l.known.Load()
	if s := known[k]; s != nil {
		return s
	}
	if !declared || labels > maxLabels || len(known) >= maxSeries {
		return nil
	}
	for i := range k.labels {
		k.labels[i] = strings.Clone(k.labels[i])
	}
	s := &series{metric: k.metric, id: id, labels: k.labels[:labels]}
	next := maps.Clone(known)
	next[k] = s
	l.known.Store(&next)
	return s
}

// begin counts a stream in, and tells the sums if that is due.
func (l *ledger) begin(h shared.HttpFilterHandle, now time.Time) {
	l.active.Add(1)
	if t := l.told.Load(); now.UnixNano()-t > int64(flushEvery) && l.told.CompareAndSwap(t, now.UnixNano()) {
		l.flush(h)
	}
}

// end counts a stream out, and tells the sums if it was the last in progress.
func (l *ledger) end(h shared.HttpFilterHandle) {
	if l.active.Add(-1) == 0 {
		l.flush(h)
	}
}

// flush tells Envoy the sums.
func (l *ledger) flush(h shared.HttpFilterHandle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.dirty {
		s.queued.Store(false) // before the swap: what is added from here on queues again
		l.tell(h, s.metric, s.id, s.pending.Swap(0), s.labels)
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
}

// tell moves one of Envoy's metrics.
func (l *ledger) tell(h shared.HttpFilterHandle, m *filter.Metric, id shared.MetricID, n int64, labels []string) {
	switch {
	case n == 0:
	case !m.Gauge:
		h.IncrementCounterValue(id, uint64(n), labels...)
	case n > 0:
		h.IncrementGaugeValue(id, uint64(n), labels...)
	default:
		h.DecrementGaugeValue(id, uint64(-n), labels...)
	}
}
