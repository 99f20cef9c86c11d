package view_test

import (
	"reflect"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

// TestEnvoysTracer: beside Envoy's own tracer the filter translates where it can ask for that tracer's span.
func TestEnvoysTracer(t *testing.T) {
	yes, no := true, false
	b3 := []tracing.Format{tracing.B3, tracing.B3Multi}
	for name, c := range map[string]struct {
		provider mesh.TraceProvider
		rule     mesh.TraceRule
		host     mesh.FilterHost
		want     *tracing.Config
	}{
		"zipkin":        {mesh.TraceProvider{Protocol: "zipkin"}, mesh.TraceRule{}, mesh.HostModule, &tracing.Config{Translate: true, Extract: b3}},
		"zipkin w3c":    {mesh.TraceProvider{Protocol: "zipkin", W3C: true}, mesh.TraceRule{}, mesh.HostModule, &tracing.Config{Translate: true, Extract: append(b3, tracing.W3C)}},
		"opentelemetry": {mesh.TraceProvider{Protocol: "otlp-grpc"}, mesh.TraceRule{}, mesh.HostModule, &tracing.Config{Translate: true, Extract: []tracing.Format{tracing.W3C}}},
		"request id": {mesh.TraceProvider{Protocol: "zipkin"}, mesh.TraceRule{UseRequestID: &no}, mesh.HostModule,
			&tracing.Config{Translate: true, Extract: b3, IgnoreRequestID: true}},
		"wasm":   {mesh.TraceProvider{Protocol: "zipkin"}, mesh.TraceRule{}, mesh.HostWasm, nil},
		"golang": {mesh.TraceProvider{Protocol: "zipkin"}, mesh.TraceRule{}, mesh.HostGolang, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := bigWorld(2)
			c.provider.Hostname, c.provider.Port = w.Services[0].Hostname, 80
			c.rule.Client, c.rule.Server, c.rule.Envoy = true, true, &yes
			w.Tracing = &mesh.Tracing{Default: &c.provider, Policies: []*mesh.TracePolicy{{Bearing: mesh.Bearing{Namespace: "istio-system"}, Rules: []*mesh.TraceRule{&c.rule}}}}
			n := sidecar(1, "right")
			n = n.RunsOn(c.host, "")
			found := 0
			for _, l := range view.Of(w, n).Listeners {
				if l.Tracer == nil {
					continue
				}
				found++
				if !reflect.DeepEqual(l.Tracing, c.want) {
					t.Errorf("%s: the filter has %+v, want %+v", l.Name, l.Tracing, c.want)
				}
			}
			if found == 0 {
				t.Error("no listener has Envoy's tracer")
			}
		})
	}
}
