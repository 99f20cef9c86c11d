package scenarios

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/spantest"
)

// Telemetry with an OpenTelemetry Collector: over HTTP by Mizzen's filter, over gRPC and with headers by Envoy's own tracer.
func TestTelemetryOTLP(t *testing.T) {
	c := spantest.StartCollector(t)
	m := shared.Mesh(t)
	m.Apply(t, collectorEntry("otel.example", "http", c.HTTP))
	m.Apply(t, collectorEntry("otel-grpc.example", "grpc", c.GRPC))
	m.Apply(t, meshConfig(fmt.Sprintf(`
    extensionProviders:
    - name: by-http
      opentelemetry: {service: otel.example, port: %d, http: {path: /v1/traces}}
    - name: with-key
      opentelemetry: {service: otel.example, port: %[1]d, http: {path: /v1/traces, headers: [{name: x-key, value: k}]}}
    - name: by-grpc
      opentelemetry: {service: otel-grpc.example, port: %d}
`, c.HTTP, c.GRPC)))
	for _, p := range []struct {
		provider string
		mizzen   bool // its filter makes the spans
	}{{"by-http", true}, {"with-key", false}, {"by-grpc", false}} {
		t.Run(p.provider, func(t *testing.T) {
			m.Apply(t, telemetry("everywhere", "istio-system", "", "  - providers: [{name: "+p.provider+"}]\n"))
			spans := oneTrace(t, func(id string) {
				m.From(t, "productpage-v1-0").Must(t, reviews, "traceparent: 00-"+id+"-"+callerSpan+"-01")
			}, func(id string) []spantest.OTelSpan { return c.Spans(t)[id] }, func(spans []spantest.OTelSpan) bool {
				byMizzen := slices.ContainsFunc(spans, func(s spantest.OTelSpan) bool { return s.Attribute("mizzen.route") != "" })
				return len(spans) == 4 && byMizzen == p.mizzen
			})
			parent := callerSpan
			for _, service := range []string{"productpage.default 3", "reviews.default 2", "reviews.default 3", "ratings.default 2"} {
				i := slices.IndexFunc(spans, func(s spantest.OTelSpan) bool { return fmt.Sprintf("%s %d", s.Service, s.Kind) == service })
				if i < 0 || spans[i].ParentSpanID != parent {
					t.Fatalf("no span %q below %s in %+v", service, parent, spans)
				}
				parent = spans[i].SpanID
			}
		})
	}
}
