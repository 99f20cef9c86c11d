package webhook

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics of the webhook, under Istio's names.
type Metrics struct {
	requests, injected, failures, skipped prometheus.Counter
	seconds                               prometheus.Histogram
	reloads                               *prometheus.CounterVec // result
}

// NewMetrics registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	auto := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{Name: "sidecar_injection_" + name + "_total", Help: help})
	}
	return &Metrics{
		requests: counter("requests", "Questions of the API server."),
		injected: counter("success", "Pods that got a proxy."),
		failures: counter("failure", "Questions that were refused, and pods that were."),
		skipped:  counter("skip", "Pods that were left alone."),
		seconds: auto.NewHistogram(prometheus.HistogramOpts{Name: "sidecar_injection_time_seconds",
			Help: "Time to answer a question.", Buckets: prometheus.ExponentialBuckets(100e-6, 2, 12)}),
		reloads: auto.NewCounterVec(prometheus.CounterOpts{Name: "mizzen_injector_configuration_reads_total",
			Help: "Configurations that were read, by result: ok or error. After an error the one before stays in force."}, []string{"result"}),
	}
}
