package tracing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
)

const tracers = "type.googleapis.com/envoy.config.trace.v3."

// zipkinByEnvoy is Envoy's own Zipkin tracer, which reads B3 in both forms and writes X-B3 headers.
func zipkinByEnvoy() static.Obj {
	return static.Obj{"name": "envoy.tracers.zipkin", "typed_config": static.Obj{"@type": tracers + "ZipkinConfig",
		"collector_cluster": "collector", "collector_endpoint": "/api/v2/spans", "collector_endpoint_version": "HTTP_JSON",
		"trace_id_128bit": true, "shared_span_context": false}}
}

// otelByEnvoy is Envoy's own OpenTelemetry tracer, which reads and writes traceparent.
func otelByEnvoy() static.Obj {
	return static.Obj{"name": "envoy.tracers.opentelemetry", "typed_config": static.Obj{"@type": tracers + "OpenTelemetryConfig",
		"service_name": "front", "http_service": static.Obj{"http_uri": static.Obj{
			"uri": "http://collector/v1/traces", "cluster": "collector", "timeout": "1s"}}}}
}

// translator is an Envoy whose own tracer makes the spans, with Mizzen's filter in front of an application.
func translator(t *testing.T, tracer static.Obj, sampling float64, config string, collector int) *envoytest.Envoy {
	t.Helper()
	app := envoytest.NewUpstream(t, "app")
	return envoytest.Start(t, envoytest.Options{Config: static.Bootstrap(map[string]int{"next": app.Port, "collector": collector}, static.Listener{
		Name: "test", Port: 10000, Filters: static.List{static.ModuleFilter("mizzen", "mizzen", "mizzen", `{"tracing":`+config+`}`)},
		Routes: static.List{static.Route("everything", "/", "next", nil)},
		HCM:    static.Obj{"tracing": static.Obj{"random_sampling": static.Obj{"value": sampling}, "provider": tracer}},
	})})
}

// TestTranslateZipkin: what the application gets in every format is the trace that Envoy reports. The span is Envoy's own
// where the trace begins there; where it goes on it is the caller's, since this tracer does not tell its own.
func TestTranslateZipkin(t *testing.T) {
	m := newMailbox(t, nil)
	e := translator(t, zipkinByEnvoy(), 100, `{"translate":true,"inject":["w3c","b3","jaeger","ot"]}`, m.Port)
	var got []map[string]string
	for _, c := range []struct {
		in     []string
		goesOn bool
	}{
		{nil, false},
		{[]string{"b3: " + traceID + "-" + caller + "-1"}, true},
		{[]string{"x-b3-traceid: " + traceID, "x-b3-spanid: " + caller, "x-b3-sampled: 1"}, true},
		{[]string{"uber-trace-id: nonsense"}, false},
		{[]string{"x-b3-flags: 1"}, false},
	} {
		h := e.Get(t, 10000, "/", c.in...).Echo().Headers
		trace, id := h["x-b3-traceid"], h["x-b3-spanid"]
		if (trace == traceID) != c.goesOn {
			t.Errorf("%v: trace %s; that of the caller is to go on: %v", c.in, trace, c.goesOn)
		}
		if c.goesOn {
			id = caller
		}
		for name, v := range map[string]string{
			"uber-trace-id": trace + ":" + id + ":0:1", "b3": trace + "-" + id + "-1", "traceparent": "00-" + trace + "-" + id + "-01", "x-b3-sampled": "1",
		} {
			if h[name] != v {
				t.Errorf("%v: the application got %s: %q, want %q", c.in, name, h[name], v)
			}
		}
		if h["x-ot-span-context"] == "" {
			t.Errorf("%v: no x-ot-span-context", c.in)
		}
		got = append(got, h)
	}
	envoytest.Await(t, 30*time.Second, "5 spans", func() bool { return len(m.got()) == 5 })
	reported := map[string]bool{}
	for _, s := range m.got() {
		reported[s.TraceID+" "+s.ID] = true
	}
	for i, h := range got {
		if !reported[h["x-b3-traceid"]+" "+h["x-b3-spanid"]] {
			t.Errorf("request %d: Envoy reported no span %s of trace %s", i, h["x-b3-spanid"], h["x-b3-traceid"])
		}
	}
}

// TestTranslateForeign: a trace that Envoy's tracer cannot read is not cut.
func TestTranslateForeign(t *testing.T) {
	e := translator(t, zipkinByEnvoy(), 100, `{"translate":true,"inject":["w3c","b3"]}`, envoytest.FreePort(t))
	in := traceID + ":" + caller + ":0:1"
	h := e.Get(t, 10000, "/", "uber-trace-id: "+in).Echo().Headers
	if h["uber-trace-id"] != in || h["traceparent"] != "" || h["b3"] != "" || h["x-b3-traceid"] == traceID {
		t.Errorf("the application got %v", h)
	}
}

// TestTranslateSampling: what Envoy decides is told in every format.
func TestTranslateSampling(t *testing.T) {
	none := translator(t, zipkinByEnvoy(), 0, `{"translate":true,"inject":["jaeger"]}`, envoytest.FreePort(t))
	all := translator(t, zipkinByEnvoy(), 100, `{"translate":true,"inject":["jaeger"]}`, envoytest.FreePort(t))
	for name, c := range map[string]struct {
		envoy   *envoytest.Envoy
		in      string
		sampled string
	}{
		"percentage":       {none, "x-y: z", "0"},
		"caller":           {all, "b3: " + traceID + "-" + caller + "-0", "0"},
		"caller, sampled":  {none, "b3: " + traceID + "-" + caller + "-1", "1"},
		"caller, no ids":   {all, "x-b3-sampled: 0", "0"},
		"no UUID":          {all, "x-request-id: hello", ""},
		"a UUID that says": {all, "x-request-id: 1fd83884-c81b-9db8-8c86-99b2d49ac149", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := c.envoy.Get(t, 10000, "/", c.in).Echo().Headers
			ids, flags := h["uber-trace-id"][:strings.LastIndexByte(h["uber-trace-id"], ':')], h["x-b3-sampled"]
			if c.sampled != "" && flags != c.sampled || h["uber-trace-id"] != ids+":"+flags || !strings.HasPrefix(ids, h["x-b3-traceid"]+":") {
				t.Errorf("uber-trace-id %q, sampled %q; %v", h["uber-trace-id"], flags, h)
			}
		})
	}
}

// TestTranslateWithoutRequestID: the connection manager may leave sampling to tracer and callers.
func TestTranslateWithoutRequestID(t *testing.T) {
	app := envoytest.NewUpstream(t, "app")
	e := envoytest.Start(t, envoytest.Options{Config: static.Bootstrap(map[string]int{"next": app.Port, "collector": 0}, static.Listener{
		Name: "test", Port: 10000, Routes: static.List{static.Route("everything", "/", "next", nil)},
		Filters: static.List{static.ModuleFilter("mizzen", "mizzen", "mizzen", `{"tracing":{"translate":true,"ignoreRequestId":true,"inject":["jaeger"]}}`)},
		HCM: static.Obj{
			"tracing": static.Obj{"random_sampling": static.Obj{"value": 0}, "provider": zipkinByEnvoy()},
			"request_id_extension": static.Obj{"typed_config": static.Obj{
				"@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig", "use_request_id_for_trace_sampling": false}},
		},
	})})
	h := e.Get(t, 10000, "/").Echo().Headers
	if want := h["x-b3-traceid"] + ":" + h["x-b3-spanid"] + ":0:" + h["x-b3-sampled"]; h["uber-trace-id"] != want {
		t.Errorf("uber-trace-id %q, want %q; %v", h["uber-trace-id"], want, h)
	}
}

// TestTranslateOpenTelemetry: the same with the tracer that knows W3C only.
func TestTranslateOpenTelemetry(t *testing.T) {
	e := translator(t, otelByEnvoy(), 100, `{"translate":true,"extract":["w3c"],"inject":["b3multi","jaeger"]}`, envoytest.FreePort(t))
	for _, in := range [][]string{
		nil,
		{"traceparent: 00-" + traceID + "-" + caller + "-01", "tracestate: a=b"},
		{"traceparent: 00-" + traceID + "-" + caller + "-00"},
		{"b3: nonsense"},
	} {
		h := e.Get(t, 10000, "/", in...).Echo().Headers
		p := strings.Split(h["traceparent"], "-")
		if len(p) != 4 {
			t.Fatalf("%v: the application got %v", in, h)
		}
		if want := p[1] + ":" + p[2] + ":0:" + p[3][1:]; h["uber-trace-id"] != want || h["x-b3-spanid"] != p[2] || h["x-b3-traceid"] != p[1] || h["x-b3-sampled"] != p[3][1:] {
			t.Errorf("%v: uber-trace-id %q, want %q; %v", in, h["uber-trace-id"], want, h)
		}
	}
}

// TestTranslateNothing: without a tracer headers pass as they came, and a counter tells.
func TestTranslateNothing(t *testing.T) {
	app := envoytest.NewUpstream(t, "app")
	e := envoytest.Start(t, envoytest.Options{Config: static.Bootstrap(map[string]int{"next": app.Port}, static.Listener{
		Name: "test", Port: 10000, Filters: static.List{static.ModuleFilter("mizzen", "mizzen", "mizzen", `{"tracing":{"translate":true}}`)},
		Routes: static.List{static.Route("everything", "/", "next", nil)},
	})})
	in := traceID + "-" + caller + "-1"
	if h := e.Get(t, 10000, "/", "b3: "+in).Echo().Headers; h["b3"] != in || h["traceparent"] != "" {
		t.Errorf("the application got %v", h)
	}
	envoytest.Await(t, 10*time.Second, "the counter", func() bool {
		n := int64(0)
		for _, v := range e.Stats(t, "trace_context_invalid_total") {
			n += v
		}
		return n == 1
	})
}
