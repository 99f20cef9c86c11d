package mesh

import (
	"cmp"
	"strings"
)

// Istio's standard metrics, as Prometheus has them.
const (
	RequestsTotal   = "istio_requests_total"
	RequestDuration = "istio_request_duration_milliseconds"
	RequestBytes    = "istio_request_bytes"
	ResponseBytes   = "istio_response_bytes"
	TCPOpened       = "istio_tcp_connections_opened_total"
	TCPClosed       = "istio_tcp_connections_closed_total"
	TCPSent         = "istio_tcp_sent_bytes_total"
	TCPReceived     = "istio_tcp_received_bytes_total"
)

// StandardMetrics are all of them, requests' first.
func StandardMetrics() []string {
	return []string{RequestsTotal, RequestDuration, RequestBytes, ResponseBytes, TCPOpened, TCPClosed, TCPSent, TCPReceived}
}

// Metrics is what MeshConfig and the Telemetries say about Istio's standard metrics.
type Metrics struct {
	// Default: proxies have them that no Telemetry says otherwise of (MeshConfig's defaultProviders.metrics).
	Default  bool
	Policies []*MetricPolicy // Telemetries with a metrics section, in order of precedence
}

// MetricPolicy is the metrics section of one Telemetry; as of TracePolicy the root namespace's, the namespace's and the workload's are
// taken one after the other.
type MetricPolicy struct {
	Bearing
	Rules []*MetricRule
}

// MetricRule is one entry of Telemetry.metrics.
type MetricRule struct {
	// Named tells whether Prometheus counts: whether the entry names a provider that is Prometheus.
	Named, Prometheus bool
	Overrides         []*MetricOverride
}

// MetricOverride changes metrics, or switches them off or on.
type MetricOverride struct {
	Metric         string // as Prometheus has it: istio_requests_total; "": all
	Client, Server bool   // the sides that it is about
	Disabled       *bool
	Tags           []*MetricTag // sorted by name
}

// MetricTag sets or removes a label.
type MetricTag struct {
	Name   string
	Format string // in the access log's format
	Remove bool
}

// Metric is one metric of a listener.
type Metric struct {
	Name string
	Tags []*MetricTag // beside, or in place of, the standard ones
}

// MetricSet is what a listener counts.
type MetricSet struct {
	Server bool
	// Self is the proxy's own workload, which is the source of what it sends and the destination of what it takes.
	Self    WorkloadName
	Metrics []*Metric
}

// WorkloadName is how metrics call a workload.
type WorkloadName struct {
	Workload, Namespace, App, Version, Service, Revision, Cluster string // Service and Revision are the canonical ones
}

// NameOf derives a pod's names from its own name and labels, as far as they tell: a Deployment's pods have the template's hash in their
// names, a StatefulSet's a number.
func NameOf(pod, namespace string, labels map[string]string) WorkloadName {
	workload := pod
	if hash := labels["pod-template-hash"]; hash != "" {
		workload, _, _ = strings.Cut(pod, "-"+hash)
	} else if i := strings.LastIndexByte(pod, '-'); i > 0 && strings.Trim(pod[i+1:], "0123456789") == "" {
		workload = pod[:i]
	}
	first := func(keys ...string) string {
		for _, k := range keys {
			if labels[k] != "" {
				return labels[k]
			}
		}
		return ""
	}
	return WorkloadName{
		Workload: workload, Namespace: namespace, Cluster: "Kubernetes",
		App: cmp.Or(labels["app"], "unknown"), Version: cmp.Or(labels["version"], "unknown"),
		Service:  cmp.Or(first("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"), workload),
		Revision: cmp.Or(first("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"), "latest"),
	}
}
