package host

import (
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// proxy-wasm metrics have no labels. They go into the name, as Graphite writes tagged series:
//
//	mizzen_canary_decisions_total;rule=everyone;destination=v2;sticky=false
//
// Envoy puts "wasmcustom." before it, and makes labels of it again with stats_tags; wasm/README.md has the list.

// maxLabels bounds the key of a series, maxSeries the series of one filter: what goes beyond is counted in one series
// for each metric whose label values are all "other".
const (
	maxLabels = 4
	maxSeries = 2048
	other     = "other"
)

// series names a metric with its label values.
type series struct {
	metric *filter.Metric
	labels [maxLabels]string
}

// metrics holds the series told to Envoy so far.
type metrics struct{ known map[series]uint32 }

// count adds n to a counter, or moves a gauge by n.
func (m *metrics) count(metric *filter.Metric, n int64, labels []string) {
	if len(labels) != len(metric.Labels) || len(labels) > maxLabels {
		proxywasm.LogErrorf("mizzen: metric %s counted with %d labels instead of %d, at most %d", metric.Name, len(labels), len(metric.Labels), maxLabels)
		return
	}
	k := series{metric: metric}
	copy(k.labels[:], labels)
	id, ok := m.known[k]
	if !ok {
		id = m.define(k, labels)
	}
	if metric.Gauge {
		proxywasm.MetricGauge(id).Add(n)
	} else if n > 0 {
		proxywasm.MetricCounter(id).Increment(uint64(n))
	}
}

func (m *metrics) define(k series, labels []string) uint32 {
	if len(m.known) >= maxSeries {
		for i := range labels {
			k.labels[i] = other
		}
		if id, ok := m.known[k]; ok {
			return id
		}
	}
	for i := range k.labels {
		k.labels[i] = strings.Clone(k.labels[i])
	}
	name := seriesName(k.metric, k.labels[:len(labels)])
	var id uint32
	if k.metric.Gauge {
		id = uint32(proxywasm.DefineGaugeMetric(name))
	} else {
		id = uint32(proxywasm.DefineCounterMetric(name))
	}
	m.known[k] = id
	return id
}

// seriesName writes a series as one name.
func seriesName(m *filter.Metric, labels []string) string {
	var b strings.Builder
	b.WriteString(Namespace + "_" + m.Name)
	for i, v := range labels {
		b.WriteByte(';')
		b.WriteString(m.Labels[i])
		b.WriteByte('=')
		for j := range len(v) {
			b.WriteByte(plain(v[j]))
		}
	}
	return b.String()
}

// plain replaces what would break the name, or a statsd line made of it. A dot at the end would be lost, and
// dots separate Envoy's names: they go too.
func plain(c byte) byte {
	if c <= ' ' || c >= 0x7f || strings.IndexByte(";=|:#,.", c) >= 0 {
		return '_'
	}
	return c
}
