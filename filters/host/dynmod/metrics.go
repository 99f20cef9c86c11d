package dynmod

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Moving a labelled counter costs Envoy about as much as ten header reads. So what policies count is added up here,
// and told to Envoy when a stream ends and no other is in progress, and at least every flushEvery while requests come.
// C counts the streams in progress.

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

// teller moves one of Envoy's metrics. n is negative for gauges only, and never 0.
type teller interface {
	move(id uint64, gauge bool, n int64, labels []string)
}

// series adds up one metric with one set of label values.
type series struct {
	metric  *filter.Metric
	id      uint64
	labels  []string
	pending atomic.Int64
	queued  atomic.Bool // it stands in ledger.dirty
}

// ledger holds the series of one listener. All workers share it.
type ledger struct {
	// ids are defined while the configuration is made: Envoy freezes metrics afterwards.
	ids map[*filter.Metric]uint64
	// known is replaced, never changed: reading needs no lock.
	known  atomic.Pointer[map[seriesKey]*series]
	recent [64]atomic.Pointer[series]
	// told is when the sums were told last (Unix nanoseconds).
	told atomic.Int64

	mu    sync.Mutex // guards dirty, replacing known, and writing flag
	flag  *int32     // in memory of C: not 0 while dirty holds anything
	dirty []*series
}

func newLedger() *ledger {
	l := &ledger{ids: map[*filter.Metric]uint64{}, flag: new(int32)}
	l.known.Store(&map[seriesKey]*series{})
	return l
}

// count adds n; t tells what cannot be added up.
func (l *ledger) count(t teller, m *filter.Metric, n int64, labels []string) {
	s := l.find(m, labels)
	if s == nil {
		l.tell(t, m, l.ids[m], n, labels)
		return
	}
	s.pending.Add(n)
	if s.queued.CompareAndSwap(false, true) {
		l.mu.Lock()
		l.dirty = append(l.dirty, s)
		atomic.StoreInt32(l.flag, 1)
		l.mu.Unlock()
	}
}

// find returns a series, nil if it cannot be added up. Policies mostly pass label slices that they made once, so the
// last series found under the address of a slice is tried first.
func (l *ledger) find(m *filter.Metric, labels []string) *series {
	var recent *atomic.Pointer[series]
	if len(labels) > 0 {
		recent = &l.recent[uintptr(unsafe.Pointer(&labels[0]))/unsafe.Sizeof("")%uintptr(len(l.recent))]
		if s := recent.Load(); s != nil && s.metric == m && slices.Equal(s.labels, labels) {
			return s
		}
	}
	k := seriesKey{metric: m}
	copy(k.labels[:], labels)
	s := (*l.known.Load())[k]
	if s == nil {
		s = l.add(k, len(labels))
	}
	if s != nil && recent != nil {
		recent.Store(s)
	}
	return s
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

// begin tells the sums if that is due.
func (l *ledger) begin(t teller, now time.Time) {
	if at := l.told.Load(); now.UnixNano()-at > int64(flushEvery) && l.told.CompareAndSwap(at, now.UnixNano()) {
		l.flush(t)
	}
}

// flush tells Envoy the sums.
func (l *ledger) flush(t teller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	atomic.StoreInt32(l.flag, 0)
	for i, s := range l.dirty {
		s.queued.Store(false) // before the swap: what is added from here on queues again
		l.tell(t, s.metric, s.id, s.pending.Swap(0), s.labels)
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
}

// tell moves a metric.
func (l *ledger) tell(t teller, m *filter.Metric, id uint64, n int64, labels []string) {
	if n != 0 {
		t.move(id, m.Gauge, n, labels)
	}
}
