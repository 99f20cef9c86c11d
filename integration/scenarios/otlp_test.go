package scenarios

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Telemetry with an OpenTelemetry Collector: over HTTP by Mizzen's filter, over gRPC and with headers by Envoy's own tracer.
func TestTelemetryOTLP(t *testing.T) {
	c := startCollector(t)
	m := shared.Mesh(t)
	m.Apply(t, collectorEntry("otel.example", "http", c.http))
	m.Apply(t, collectorEntry("otel-grpc.example", "grpc", c.grpc))
	m.Apply(t, meshConfig(fmt.Sprintf(`
    extensionProviders:
    - name: by-http
      opentelemetry: {service: otel.example, port: %d, http: {path: /v1/traces}}
    - name: with-key
      opentelemetry: {service: otel.example, port: %[1]d, http: {path: /v1/traces, headers: [{name: x-key, value: k}]}}
    - name: by-grpc
      opentelemetry: {service: otel-grpc.example, port: %d}
`, c.http, c.grpc)))
	for _, p := range []struct {
		provider string
		mizzen   bool // its filter makes the spans
	}{{"by-http", true}, {"with-key", false}, {"by-grpc", false}} {
		t.Run(p.provider, func(t *testing.T) {
			m.Apply(t, telemetry("everywhere", "istio-system", "", "  - providers: [{name: "+p.provider+"}]\n"))
			spans := oneTrace(t, func(id string) {
				m.From(t, "productpage-v1-0").Must(t, reviews, "traceparent: 00-"+id+"-"+callerSpan+"-01")
			}, func(id string) []otelSpan { return c.spans(t, id) }, func(spans []otelSpan) bool {
				byMizzen := slices.ContainsFunc(spans, func(s otelSpan) bool { return s.has("mizzen.route") })
				return len(spans) == 4 && byMizzen == p.mizzen
			})
			parent := callerSpan
			for _, service := range []string{"productpage.default 3", "reviews.default 2", "reviews.default 3", "ratings.default 2"} {
				i := slices.IndexFunc(spans, func(s otelSpan) bool { return fmt.Sprintf("%s %d", s.service, s.Kind) == service })
				if i < 0 || spans[i].ParentSpanID != parent {
					t.Fatalf("no span %q below %s in %+v", service, parent, spans)
				}
				parent = spans[i].SpanID
			}
		})
	}
}

// collector is a real OpenTelemetry Collector that writes what it gets into a file.
type collector struct {
	http, grpc int
	file       string
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	bin := filepath.Join(envoytest.Root(), ".cache", "collector", "collector")
	if _, err := os.Stat(bin); err != nil {
		envoytest.Missing(t, errors.New("no OpenTelemetry Collector: run make collector"))
	}
	dir := t.TempDir()
	c := &collector{http: envoytest.FreePort(t), grpc: envoytest.FreePort(t), file: filepath.Join(dir, "spans")}
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:%d"}, grpc: {endpoint: "127.0.0.1:%d"}}}}
exporters: {lines: {path: %q}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [lines]}}
`, c.http, c.grpc, c.file)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, bin, "--config", "file:"+config)
	awaitHTTP(t, "the collector listens", c.http, "/", 0)
	return c
}

// otelSpan is a span as the collector decoded it.
type otelSpan struct {
	TraceID, SpanID, ParentSpanID string
	Kind                          int // 2 server, 3 client
	Attributes                    []attribute

	service string
}

type attribute struct {
	Key   string
	Value struct{ StringValue string }
}

func (s otelSpan) has(key string) bool {
	return slices.ContainsFunc(s.Attributes, func(a attribute) bool { return a.Key == key })
}

// spans are those of one trace that have come.
func (c *collector) spans(t *testing.T, id string) []otelSpan {
	t.Helper()
	b, err := os.ReadFile(c.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out []otelSpan
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var td struct {
			ResourceSpans []struct {
				Resource   struct{ Attributes []attribute }
				ScopeSpans []struct{ Spans []otelSpan }
			}
		}
		if json.Unmarshal(lines.Bytes(), &td) != nil {
			continue // it is being written
		}
		for _, r := range td.ResourceSpans {
			service := ""
			for _, a := range r.Resource.Attributes {
				if a.Key == "service.name" {
					service = a.Value.StringValue
				}
			}
			for _, ss := range r.ScopeSpans {
				for _, s := range ss.Spans {
					if s.service = service; s.TraceID == id {
						out = append(out, s)
					}
				}
			}
		}
	}
	return out
}
