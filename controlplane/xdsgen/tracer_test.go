package xdsgen

import (
	"slices"
	"strings"
	"testing"
	"time"

	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

const collectorCluster = "outbound|9411||zipkin.observe.svc.cluster.local"

// traced is the connection manager of an HTTP listener with Envoy's own tracer.
func traced(t *testing.T, tr *mesh.Tracer) *hcmv3.HttpConnectionManager {
	t.Helper()
	return tracedBeside(t, nil, tr)
}

// tracedBeside has the filter's tracing beside it.
func tracedBeside(t *testing.T, own *tracing.Config, tr *mesh.Tracer) *hcmv3.HttpConnectionManager {
	t.Helper()
	v := sidecarView()
	i := slices.IndexFunc(v.Listeners, func(l *mesh.Listener) bool { return l.Name == "0.0.0.0_9080" })
	l := *v.Listeners[i]
	l.Tracing, l.Tracer = own, tr
	v.Listeners = slices.Clone(v.Listeners)
	v.Listeners[i] = &l
	return manager(t, listener(t, v, "0.0.0.0_9080").FilterChains[0])
}

func TestZipkinTracer(t *testing.T) {
	m := traced(t, &mesh.Tracer{
		Provider: &mesh.TraceProvider{Protocol: "zipkin", Hostname: "zipkin.observe.svc.cluster.local", Path: "/spans", MaxTagLength: 64, W3C: true},
		Cluster:  collectorCluster, Sampling: 0.5,
		Tags: []*mesh.TraceTag{{Name: "a", Literal: "1"}, {Name: "b", Environment: "B", Default: "2"}, {Name: "c", Header: "x-c"}, {Name: "d", Value: "%PROTOCOL%"}},
	})
	if m.Tracing.RandomSampling.Value != 0.5 || m.Tracing.ClientSampling.Value != 100 || m.Tracing.MaxPathTagLength.GetValue() != 64 {
		t.Errorf("tracing %v", m.Tracing)
	}
	var z tracev3.ZipkinConfig
	if err := m.Tracing.Provider.GetTypedConfig().UnmarshalTo(&z); err != nil || m.Tracing.Provider.Name != "envoy.tracers.zipkin" {
		t.Fatal(m.Tracing.Provider, err)
	}
	if z.CollectorCluster != collectorCluster || z.CollectorEndpoint != "/spans" || z.TraceContextOption != tracev3.ZipkinConfig_USE_B3_WITH_W3C_PROPAGATION {
		t.Errorf("zipkin %v", &z)
	}
	tags := m.Tracing.CustomTags
	if len(tags) != 4 || tags[0].GetLiteral().GetValue() != "1" || tags[1].GetEnvironment().GetDefaultValue() != "2" ||
		tags[2].GetRequestHeader().GetName() != "x-c" || tags[3].GetValue() != "%PROTOCOL%" {
		t.Errorf("tags %v", tags)
	}
	if m.RequestIdExtension == nil || !m.GenerateRequestId.GetValue() {
		t.Error("x-request-id must not decide about sampling, and Envoy must make it")
	}
}

// A filter that translates is told so, and leaves x-request-id to Envoy.
func TestTranslatingFilter(t *testing.T) {
	m := tracedBeside(t, &tracing.Config{Translate: true}, &mesh.Tracer{Provider: &mesh.TraceProvider{Protocol: "zipkin"}, Cluster: collectorCluster})
	if m.Tracing == nil || !m.GenerateRequestId.GetValue() || !strings.Contains(m.HttpFilters[0].String(), "translate") {
		t.Errorf("connection manager %v", m)
	}
}

func TestOTLPTracer(t *testing.T) {
	config := func(p *mesh.TraceProvider) *tracev3.OpenTelemetryConfig {
		p.Hostname, p.Port = "otel.example", 4317
		m := traced(t, &mesh.Tracer{Provider: p, Cluster: collectorCluster, Service: "web.default", UseRequestID: true})
		out := &tracev3.OpenTelemetryConfig{}
		if err := m.Tracing.Provider.GetTypedConfig().UnmarshalTo(out); err != nil || m.RequestIdExtension != nil || out.ServiceName != "web.default" {
			t.Fatal(m, err)
		}
		return out
	}
	key := []mesh.TraceHeader{{Name: "x-key", Value: "k"}}
	g := config(&mesh.TraceProvider{Protocol: "otlp-grpc", Timeout: time.Second, Headers: key}).GrpcService
	if g.GetEnvoyGrpc().GetClusterName() != collectorCluster || g.Timeout.AsDuration() != time.Second || g.InitialMetadata[0].Value != "k" {
		t.Errorf("gRPC %v", g)
	}
	h := config(&mesh.TraceProvider{Protocol: "otlp-http", Headers: key}).HttpService
	if h.HttpUri.Uri != "http://otel.example:4317/v1/traces" || h.HttpUri.GetCluster() != collectorCluster || h.HttpUri.Timeout.AsDuration() != traceTimeout ||
		h.RequestHeadersToAdd[0].Header.Key != "x-key" {
		t.Errorf("HTTP %v", h)
	}
}

// A listener waits for the cluster that its spans go to, whoever makes them.
func TestListenerWaitsForItsCollector(t *testing.T) {
	provider := &mesh.TraceProvider{Protocol: "zipkin"}
	for name, l := range map[string]*mesh.Listener{
		"envoy":  {Tracer: &mesh.Tracer{Provider: provider, Cluster: collectorCluster}},
		"mizzen": {Tracing: &tracing.Config{Export: &tracing.Export{Cluster: collectorCluster}}},
	} {
		l.Name, l.Kind, l.Table = "l", mesh.ListenHTTPProxy, "http_proxy"
		r, err := buildListener(listenerInput{Listener: l})
		if err != nil || !slices.Equal(r.Clusters, []string{collectorCluster}) {
			t.Errorf("%s: clusters %v, %v", name, r.Clusters, err)
		}
	}
	if m := traced(t, nil); m.Tracing != nil || !proto.Equal(m.RequestIdExtension, (*hcmv3.RequestIDExtension)(nil)) {
		t.Error("a tracer that nobody asked for")
	}
}
