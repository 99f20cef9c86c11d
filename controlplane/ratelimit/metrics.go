package ratelimit

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of the service, in a registry of their own.
type metrics struct {
	registry    *prometheus.Registry
	decisions   *prometheus.CounterVec // limit, result
	requests    *prometheus.CounterVec // code
	fallbacks   *prometheus.CounterVec // on_error
	cached      prometheus.Counter
	asks, calls prometheus.Counter
	batches     prometheus.Counter
	storeErrors prometheus.Counter
	storeUp     prometheus.Gauge
	limits      prometheus.Gauge
	seconds     prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	auto := promauto.With(m.registry)
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: "mizzen_ratelimit_" + name, Help: help}, labels)
	}
	counter := func(name, help string) prometheus.Counter { return vec(name, help).WithLabelValues() }
	gauge := func(name, help string) prometheus.Gauge {
		return auto.NewGauge(prometheus.GaugeOpts{Name: "mizzen_ratelimit_" + name, Help: help})
	}
	m.decisions = vec("decisions_total", "Descriptors by limit: ok were counted, limited were refused, shadow_limited would have been.", "limit", "result")
	m.requests = vec("requests_total", "Calls of ShouldRateLimit by overall code.", "code")
	m.fallbacks = vec("fallbacks_total", "Asks that the store could not decide, by what decided them.", "on_error")
	m.cached = counter("cached_refusals_total", "Refusals told without asking the store.")
	m.asks = counter("store_asks_total", "Asks to Redis, before they are joined into calls.")
	m.calls = counter("store_calls_total", "Calls of the script in Redis.")
	m.batches = counter("store_batches_total", "Pipelines sent to Redis.")
	m.storeErrors = counter("store_errors_total", "Asks that the store failed to decide.")
	m.storeUp = gauge("store_up", "1 if the store answers, 0 while it is away.")
	m.limits = gauge("limits", "Limits of scope global in the configuration.")
	m.seconds = auto.NewHistogram(prometheus.HistogramOpts{Name: "mizzen_ratelimit_request_seconds",
		Help: "Time to answer ShouldRateLimit.", Buckets: prometheus.ExponentialBuckets(25e-6, 2, 14)})
	m.storeUp.Set(1)
	return m
}

// watch tells what the stores hold.
func (m *metrics) watch(local *Memory) {
	promauto.With(m.registry).NewGaugeFunc(prometheus.GaugeOpts{Name: "mizzen_ratelimit_memory_keys",
		Help: "Keys remembered in this process."}, func() float64 { return float64(local.Len()) })
}
