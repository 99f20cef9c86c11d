package wasm_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

const exporting = `{"tracing":{"export":{"protocol":"zipkin","cluster":"zipkin","service":"shop","kind":"client","interval":"1s"}},
	"fault":{"rules":[{"name":"slow","delay":{"percentage":100,"fixed":"40ms"}}]}}`

func exporter(t *testing.T, config string) *wasmtest.VM {
	t.Helper()
	return wasmtest.New(t, modules["mizzen"], wasmtest.Options{Config: config, Clusters: []string{"zipkin"},
		Properties: map[string]string{"xds.route_name": "first", "source.address": "10.1.2.3:4567", "upstream.address": "10.9.8.7:80",
			"xds.cluster_name": "reviews", "response.code": "\xf7\x01\x00\x00\x00\x00\x00\x00"}})
}

// traced plays an exchange.
func traced(vm *wasmtest.VM, headers ...string) {
	s := vm.Request(wasmtest.H(headers...))
	vm.Advance(45 * time.Millisecond) // a Wait is kept to 5 ms
	s.Response(nil)
	s.End()
}

func TestSpansAreSentOnTicks(t *testing.T) {
	vm := exporter(t, exporting)
	traced(vm, "b3: 1")
	traced(vm, "b3: 0") // not sampled
	vm.Advance(800 * time.Millisecond)
	if !vm.Ticking() || len(vm.Calls()) != 0 {
		t.Fatalf("ticking %v, calls %v", vm.Ticking(), vm.Calls())
	}
	vm.Advance(500 * time.Millisecond)
	calls := vm.Calls()
	if len(calls) != 1 || calls[0].Cluster != "zipkin" || calls[0].Headers.Get(":path") != "/api/v2/spans" || calls[0].Headers.Get(":authority") != "zipkin" {
		t.Fatalf("calls %+v", calls)
	}
	var spans []struct {
		Kind, Name     string
		Duration       int64
		RemoteEndpoint struct {
			IPv4 string
			Port int
		}
		Tags map[string]string
	}
	if err := json.Unmarshal(calls[0].Body, &spans); err != nil || len(spans) != 1 {
		t.Fatalf("%v in %s", err, calls[0].Body)
	}
	s := spans[0]
	if s.Kind != "CLIENT" || s.Name != "GET first" || s.Duration != 45_000 || s.RemoteEndpoint.IPv4 != "10.9.8.7" || s.RemoteEndpoint.Port != 80 {
		t.Errorf("span %+v", s)
	}
	if s.Tags["upstream_cluster"] != "reviews" || s.Tags["http.response.status_code"] != "503" || s.Tags["mizzen.fault"] != "slow: delay 40ms" ||
		s.Tags["mizzen.flags"] != "DI" || s.Tags["error.type"] != "503" {
		t.Errorf("tags %v", s.Tags)
	}
	calls[0].Respond(wasmtest.H(":status: 202"), nil, nil)
	if vm.Metric("mizzen_trace_spans_exported_total") != 1 || vm.Metric("mizzen_trace_batches_total;result=ok") != 1 {
		t.Errorf("metrics %v", vm.Metrics())
	}
	vm.Advance(5 * time.Second)
	if len(vm.Calls()) != 0 {
		t.Error("a call for nothing")
	}
}

func TestSpansAndACollectorThatIsAway(t *testing.T) {
	vm := exporter(t, exporting)
	traced(vm)
	for range 40 { // 4 tries, 7 s of pauses
		vm.Advance(250 * time.Millisecond)
		for _, c := range vm.Calls() {
			c.Fail()
		}
	}
	if vm.Metric("mizzen_trace_spans_dropped_total;reason=unreachable") != 1 || vm.Metric("mizzen_trace_batches_total;result=retry") != 3 {
		t.Errorf("metrics %v", vm.Metrics())
	}
	traced(vm)
	vm.Advance(1500 * time.Millisecond)
	for _, c := range vm.Calls() {
		c.Respond(wasmtest.H(":status: 202"), nil, nil)
	}
	if vm.Metric("mizzen_trace_spans_exported_total") != 1 {
		t.Errorf("did not recover: metrics %v", vm.Metrics())
	}
}

// When Envoy drops the plugin, for example for a new configuration, what waits is sent first.
func TestSpansAreFlushedAtTheEnd(t *testing.T) {
	vm := exporter(t, exporting)
	traced(vm)
	if vm.EndPlugin() {
		t.Fatal("done, although a span waits")
	}
	calls := vm.Calls()
	if len(calls) != 1 || vm.Done() {
		t.Fatalf("calls %v, done %v", calls, vm.Done())
	}
	calls[0].Respond(wasmtest.H(":status: 202"), nil, nil)
	if !vm.Done() || vm.Metric("mizzen_trace_spans_exported_total") != 1 {
		t.Errorf("done %v, metrics %v", vm.Done(), vm.Metrics())
	}
	if vm := exporter(t, exporting); !vm.EndPlugin() {
		t.Error("not done, although nothing waits")
	}
}

// A route's configuration may export too.
func TestSpansOfARoute(t *testing.T) {
	vm := exporter(t, `{}`)
	s := vm.Request(wasmtest.H(), map[string]string{metadataPath + "config": exporting})
	vm.Advance(45 * time.Millisecond)
	s.Response(nil)
	s.End()
	vm.Advance(1500 * time.Millisecond)
	if calls := vm.Calls(); len(calls) != 1 {
		t.Errorf("calls %v", calls)
	}
}
