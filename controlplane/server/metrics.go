package server

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// metrics are named as Istio's, whose dashboards read them.
type metrics struct {
	registry    *prometheus.Registry
	connected   *prometheus.GaugeVec
	pushes      *prometheus.CounterVec
	pushTime    *prometheus.HistogramVec
	size        *prometheus.HistogramVec
	convergence prometheus.Histogram
	queue       prometheus.Histogram
	debounce    prometheus.Histogram
	triggers    *prometheus.CounterVec
	inbound     *prometheus.CounterVec
	rejects     *prometheus.CounterVec
	rejectsBy   map[kind]prometheus.Counter
	internal    prometheus.Counter
	services    prometheus.Gauge
	rules       prometheus.Gauge
	subsets     prometheus.Gauge
	empty       prometheus.Gauge
	unready     prometheus.Gauge
	version     string
}

func newMetrics(version string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), version: version, rejectsBy: map[kind]prometheus.Counter{}}
	seconds := []float64{.001, .01, .1, .5, 1, 3, 5, 10, 20, 30}
	m.connected = m.gauges("pilot_xds", "Number of endpoints connected to this pilot using XDS.", "version")
	m.pushes = m.counters("pilot_xds_pushes", "Responses sent to proxies, by type.", "type")
	m.pushTime = m.histograms("pilot_xds_push_time", "Total time in seconds Pilot takes to push lds, rds, cds and eds.", seconds, "type")
	m.size = m.histograms("pilot_xds_config_size_bytes", "Distribution of configuration sizes pushed to clients.",
		[]float64{1, 10000, 1000000, 4000000, 10000000, 40000000}, "type")
	m.convergence = m.histogram("pilot_proxy_convergence_time",
		"Delay in seconds between config change and a proxy having acknowledged all of its configuration.", seconds)
	m.queue = m.histogram("pilot_proxy_queue_time", "Time in seconds a proxy is in the push queue before being dequeued.", seconds)
	m.debounce = m.histogram("pilot_debounce_time", "Delay in seconds between the first config change and its push.", seconds)
	m.triggers = m.counters("pilot_push_triggers", "Total number of times a push was triggered, by reason.", "type")
	m.inbound = m.counters("pilot_inbound_updates", "Total number of updates received by pilot.", "type")
	m.rejects = m.counters("pilot_total_xds_rejects", "Total number of XDS responses from pilot rejected by proxy.", "type")
	m.internal = m.counter("pilot_total_xds_internal_errors", "Total number of internal XDS errors in pilot.")
	m.services = m.gauge("pilot_services", "Total services known to pilot.")
	m.rules = m.gauge("pilot_virt_services", "Total virtual services known to pilot.")
	m.subsets = m.gauge("pilot_destrule_subsets", "Subsets of destination rules known to pilot.")
	m.empty = m.gauge("pilot_eds_no_instances", "Number of service ports without instances.")
	m.unready = m.gauge("pilot_endpoint_not_ready", "Endpoints found in unready state.")
	m.gauges("pilot_info", "Pilot version and build information.", "version").WithLabelValues(version).Set(1)
	for k := range kinds {
		m.rejectsBy[k] = m.counter("pilot_xds_"+k.short()+"_reject", "Pilot rejected "+strings.ToUpper(k.short())+" configs.")
		m.pushes.WithLabelValues(k.short())
		m.rejects.WithLabelValues(k.short())
	}
	m.connected.WithLabelValues(version).Set(0)
	return m
}

func (m *metrics) gauge(name, help string) prometheus.Gauge {
	return promauto.With(m.registry).NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func (m *metrics) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.With(m.registry).NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func (m *metrics) counter(name, help string) prometheus.Counter {
	return promauto.With(m.registry).NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func (m *metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return promauto.With(m.registry).NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func (m *metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return promauto.With(m.registry).NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

func (m *metrics) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return promauto.With(m.registry).NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// pushed counts one response.
func (m *metrics) pushed(k kind, bytes int, took time.Duration) {
	m.pushes.WithLabelValues(k.short()).Inc()
	m.pushTime.WithLabelValues(k.short()).Observe(took.Seconds())
	m.size.WithLabelValues(k.short()).Observe(float64(bytes))
}

func (m *metrics) reject(k kind) {
	m.rejects.WithLabelValues(k.short()).Inc()
	m.rejectsBy[k].Inc()
}

// proxies counts the connected ones.
func (m *metrics) proxies(conns map[uint64]*conn) {
	m.connected.WithLabelValues(m.version).Set(float64(len(conns)))
}

// world counts what is in a world.
func (m *metrics) world(w *mesh.World) {
	m.services.Set(float64(len(w.Services)))
	m.rules.Set(float64(len(w.Rules)))
	subsets, empty, unready := 0, 0, 0
	for _, p := range w.Policies {
		subsets += len(p.Subsets)
	}
	for _, es := range w.Endpoints {
		ready := 0
		for _, e := range es {
			if e.Ready {
				ready++
			}
		}
		unready += len(es) - ready
		if ready == 0 {
			empty++
		}
	}
	m.subsets.Set(float64(subsets))
	m.empty.Set(float64(empty))
	m.unready.Set(float64(unready))
}
