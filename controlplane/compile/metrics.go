package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/istio/cel"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	telemetry "istio.io/api/telemetry/v1alpha1"
)

// builtinMetrics is the metrics provider that a mesh has without asking.
const builtinMetrics = "prometheus"

// standardMetrics are those that Mizzen makes, by Istio's words for them.
func standardMetrics() map[telemetry.MetricSelector_IstioMetric]string {
	return map[telemetry.MetricSelector_IstioMetric]string{
		telemetry.MetricSelector_ALL_METRICS: "", telemetry.MetricSelector_REQUEST_COUNT: mesh.RequestsTotal,
		telemetry.MetricSelector_REQUEST_DURATION: mesh.RequestDuration, telemetry.MetricSelector_REQUEST_SIZE: mesh.RequestBytes,
		telemetry.MetricSelector_RESPONSE_SIZE: mesh.ResponseBytes, telemetry.MetricSelector_TCP_OPENED_CONNECTIONS: mesh.TCPOpened,
		telemetry.MetricSelector_TCP_CLOSED_CONNECTIONS: mesh.TCPClosed, telemetry.MetricSelector_TCP_SENT_BYTES: mesh.TCPSent,
		telemetry.MetricSelector_TCP_RECEIVED_BYTES: mesh.TCPReceived,
	}
}

// metrics lowers the metrics of Telemetries, oldest first.
func (c *compiler) metrics() {
	m := &mesh.Metrics{}
	providers := c.metricsProviders()
	if c.set.Mesh != nil {
		for i, name := range c.set.Mesh.Spec.GetDefaultProviders().GetMetrics() {
			if m.Default = m.Default || providers[name]; !providers[name] {
				c.noMetrics(&c.set.Mesh.Meta, index("data.mesh.defaultProviders.metrics", i), name, providers)
			}
		}
	}
	m.Policies = telemetries(c, "metrics section", (*telemetry.Telemetry).GetMetrics, func(meta *istio.Meta, b mesh.Bearing, in []*telemetry.Metrics) *mesh.MetricPolicy {
		p := &mesh.MetricPolicy{Bearing: b}
		for i, r := range in {
			p.Rules = append(p.Rules, c.metricRule(meta, index("spec.metrics", i), r, providers))
		}
		return p
	})
	if m.Default || len(m.Policies) > 0 {
		c.world.Metrics = m
	}
}

// metricsProviders are the providers of metrics by name: all are Prometheus.
func (c *compiler) metricsProviders() map[string]bool {
	out := map[string]bool{}
	taken := map[string]bool{}
	if c.set.Mesh != nil {
		for _, p := range c.set.Mesh.Spec.GetExtensionProviders() {
			if !taken[p.GetName()] && p.GetPrometheus() != nil {
				out[p.GetName()] = true
			}
			taken[p.GetName()] = true
		}
	}
	if !taken[builtinMetrics] {
		out[builtinMetrics] = true
	}
	return out
}

func (c *compiler) noMetrics(m *istio.Meta, path, name string, providers map[string]bool) {
	c.report(m, path, istio.Error, codeNotFound, fmt.Sprintf("no metrics provider %q that is Prometheus", name),
		"write one of "+strings.Join(slices.Sorted(maps.Keys(providers)), ", "))
}

func (c *compiler) metricRule(m *istio.Meta, path string, in *telemetry.Metrics, providers map[string]bool) *mesh.MetricRule {
	r := &mesh.MetricRule{Named: len(in.GetProviders()) > 0}
	for i, p := range in.GetProviders() {
		if r.Prometheus = r.Prometheus || providers[p.GetName()]; !providers[p.GetName()] {
			c.noMetrics(m, index(path+".providers", i)+".name", p.GetName(), providers)
		}
	}
	for i, o := range in.GetOverrides() {
		if to := c.metricOverride(m, index(path+".overrides", i), o); to != nil {
			r.Overrides = append(r.Overrides, to)
		}
	}
	return r
}

// metricOverride is nil if it is about a metric that there is not.
func (c *compiler) metricOverride(m *istio.Meta, path string, in *telemetry.MetricsOverrides) *mesh.MetricOverride {
	out := &mesh.MetricOverride{}
	out.Client, out.Server = sides(in.GetMatch().GetMode())
	all := standardMetrics()
	switch k := in.GetMatch().GetMetricMatch().(type) {
	case *telemetry.MetricSelector_Metric:
		name, ok := all[k.Metric]
		if !ok {
			c.report(m, path+".match.metric", istio.Info, codeNoMetric, fmt.Sprintf("Mizzen makes no %s: messages of a stream are not counted", k.Metric), "")
			return nil
		}
		out.Metric = name
	case *telemetry.MetricSelector_CustomMetric:
		out.Metric = "istio_" + strings.TrimPrefix(k.CustomMetric, "istio_")
		if names := slices.Sorted(maps.Values(all)); !slices.Contains(names, out.Metric) {
			c.report(m, path+".match.customMetric", istio.Warning, codeNoMetric, fmt.Sprintf("no metric %q is made: there is nothing to change", k.CustomMetric),
				"write one of "+strings.Join(names[1:], ", "))
			return nil
		}
	}
	if d := in.GetDisabled(); d != nil {
		v := d.GetValue()
		out.Disabled = &v
	}
	for _, name := range slices.Sorted(maps.Keys(in.GetTagOverrides())) {
		t := in.GetTagOverrides()[name]
		tag := &mesh.MetricTag{Name: name, Remove: t.GetOperation() == telemetry.MetricsOverrides_TagOverride_REMOVE}
		if !tag.Remove {
			tag.Format, _ = cel.Format(t.GetValue()) // package istio has checked it
		}
		out.Tags = append(out.Tags, tag)
	}
	return out
}
