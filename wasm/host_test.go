package wasm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

const metadataPath = "xds.route_metadata.filter_metadata.mizzen."

func probe(t *testing.T, config string) *wasmtest.VM {
	t.Helper()
	return wasmtest.New(t, modules["probe"], wasmtest.Options{
		Config: config, Clusters: []string{"people"},
		Properties: map[string]string{"xds.route_name": "first", "source.address": "10.1.2.3:4567"},
	})
}

func TestHostMapsVerdicts(t *testing.T) {
	vm := probe(t, `{"probe":{"tag":"base"}}`)
	cases := []struct {
		probe string
		want  string // status of a reply or 0, then some headers
		see   func(s *wasmtest.Stream) string
	}{
		{"", "base", up("x-probe-tag")},
		{"tell", "first 10.1.2.3", up("x-tell")},
		{"reply=418", "418 probe 418", func(s *wasmtest.Stream) string {
			return fmt.Sprint(s.Reply().Status, " ", s.Reply().Headers.Get("x-reply"), " ", s.Reply().Headers.Get("x-probe-response"))
		}},
		{"wait=20ms reply=503", "503 mizzen_probe", func(s *wasmtest.Stream) string { return fmt.Sprint(s.Reply().Status, " ", s.Reply().Details) }},
		{"call=people", "ann", up("x-called")},
		{"wait=10ms call=people", "ann", up("x-called")},
		{"call=nobody", "cannot send: error status returned by host: bad argument", up("x-called")},
		{"reroute=v2", "v2", up("x-mizzen-route")},
		{"wait-response=50ms", "200", down("x-probe-response")},
		{"lose=502", "502", down(":status")},
		{"panic", "", up("x-called")},
		{"panic-response", "200", down(":status")},
		{"panic-end", "200", down(":status")},
	}
	for _, c := range cases {
		t.Run(c.probe, func(t *testing.T) {
			s := exchange(vm, c.probe)
			if s.Paused() {
				t.Fatal("still paused")
			}
			if got := c.see(s); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if vm.Metric("mizzen_probe_begun_total;tag=base") != int64(len(cases)) || vm.Metric("mizzen_probe_open") != 0 || vm.Metric("mizzen_panics_total;policy=probe") != 3 {
		t.Errorf("metrics %v", vm.Metrics())
	}
	if vm.Ticking() || vm.Streams() != 0 {
		t.Errorf("ticking %v, %d streams", vm.Ticking(), vm.Streams())
	}
}

// exchange takes one request through the VM, with its waits and calls.
func exchange(vm *wasmtest.VM, probe string) *wasmtest.Stream {
	s := vm.Request(wasmtest.H("x-probe: " + probe))
	for range 3 {
		vm.Advance(60 * time.Millisecond)
		for _, c := range vm.Calls() {
			c.Respond(wasmtest.H(":status: 200"), []byte("ann"), nil)
		}
		if s.Downstream() == nil {
			s.Response(nil)
		}
	}
	s.End()
	return s
}

func up(name string) func(*wasmtest.Stream) string {
	return func(s *wasmtest.Stream) string { return s.Upstream().Get(name) }
}

func down(name string) func(*wasmtest.Stream) string {
	return func(s *wasmtest.Stream) string { return s.Downstream().Get(name) }
}

func TestFailureClosed(t *testing.T) {
	vm := probe(t, `{"failure":"closed","probe":{"tag":"base"}}`)
	if r := exchange(vm, "panic").Reply(); r == nil || r.Status != 500 || r.Details != "mizzen_panic" {
		t.Errorf("after a panic: %+v", r)
	}
	s := vm.Request(nil, map[string]string{metadataPath + "config": `{"nonsense":{}}`})
	if r := s.Reply(); r == nil || r.Status != 500 || r.Details != "mizzen_route_config" {
		t.Errorf("a wrong configuration: %+v", r)
	}
	if exchange(vm, "").Reply() != nil {
		t.Error("the VM did not recover")
	}
}

func TestRouteConfig(t *testing.T) {
	vm := probe(t, `{"probe":{"tag":"base"}}`)
	const host = "xds.virtual_host_metadata.filter_metadata.mizzen."
	tag := func(name string) string { return `{"probe":{"tag":"` + name + `"}}` }
	cases := []struct {
		name, probe string
		metadata    map[string]string
		want        string
	}{
		{"none", "", nil, "base"},
		{"route", "", map[string]string{metadataPath + "config": tag("route"), host + "config": tag("host")}, "route"},
		{"virtual host", "", map[string]string{host + "config": tag("host")}, "host"},
		{"off", "", map[string]string{metadataPath + "config": `{"probe":null}`}, ""},
		{"wrong", "", map[string]string{metadataPath + "config": `{"probe":`}, "base"},
		{"panics", "", map[string]string{metadataPath + "config": `{"probe":{"panic":true}}`}, "base"},
		{"token without a reroute", "", map[string]string{host + "config.v2": tag("v2")}, "base"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := vm.Request(wasmtest.H("x-probe: "+c.probe), c.metadata)
			defer s.End()
			if got := s.Upstream().Get("x-probe-tag"); got != c.want {
				t.Errorf("tag %q, want %q", got, c.want)
			}
		})
	}
	if got := vm.Metric("mizzen_route_config_errors_total"); got != 2 {
		t.Errorf("%d wrong configurations counted, want 2", got)
	}
	errors := 0
	for range 3 { // a text is parsed, and complained about, once
		vm.Request(nil, map[string]string{metadataPath + "config": `{"probe":`}).End()
	}
	for _, l := range vm.Logs() {
		if l.Level == "error" {
			errors++
		}
	}
	if errors != 2 {
		t.Errorf("%d errors logged, want 2: %v", errors, vm.Logs())
	}
}

// TestRouteConfigAfterReroute: what canary chooses has its configuration under its token.
func TestRouteConfigAfterReroute(t *testing.T) {
	vm := start(t, `{"canary":{"rules":[{"name":"r","destinations":[{"name":"v2","route":"r0.d1"}]}]}}`)
	s := vm.Request(nil, map[string]string{
		metadataPath + "config":       `{"fault":{"rules":[{"abort":{"percentage":100,"httpStatus":501}}]}}`,
		metadataPath + "config.r0.d1": `{"fault":{"rules":[{"abort":{"percentage":100,"httpStatus":502}}]}}`,
	})
	if r := s.Reply(); r == nil || r.Status != 502 || s.Upstream().Get("x-mizzen-route") != "r0.d1" {
		t.Errorf("reply %+v, %v", r, s.Upstream())
	}
	s.End()
}

func TestRefusedConfigs(t *testing.T) {
	for config, want := range map[string]string{
		`{`:                         "parse mizzen configuration",
		`{"canary":{"typo":1}}`:     "configure policy canary",
		`{"nonsense":{}}`:           `unknown field \"nonsense\"`,
		`{"failure":"sometimes"}`:   "failure: want",
		`{"canary":{"rules":[]}} x`: "something follows",
	} {
		_, err := modules["mizzen"].Start(wasmtest.Options{Config: config})
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, `\"`, `"`)) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
	if _, err := modules["probe"].Start(wasmtest.Options{Config: `{"probe":{"panic":true}}`}); err == nil || !strings.Contains(err.Error(), "asked to panic") {
		t.Errorf("a panic in the configuration: %v", err)
	}
	if vm := start(t, ""); vm.Request(nil).Paused() {
		t.Error("no configuration at all: a request stops")
	}
}

// TestSinglePolicyModules: each knows its policy, and no other.
func TestSinglePolicyModules(t *testing.T) {
	own := map[string]string{"canary": canaryConfig, "ratelimit": limitConfig, "tracing": tracingConfig, "fault": faultConfig}
	for policy, config := range own {
		t.Run(policy, func(t *testing.T) {
			m := modules["mizzen-"+policy]
			vm := wasmtest.New(t, m, wasmtest.Options{Config: "{" + config + "}"})
			s := vm.Request(wasmtest.H("x-user: ann", "x-demo: dead", "x-group: testers"))
			s.Response(nil)
			s.End()
			seen := map[string]bool{
				"canary":    s.Upstream().Get("x-mizzen-cluster") == "v2",
				"ratelimit": s.Downstream().Get("x-ratelimit-limit") != "",
				"tracing":   s.Upstream().Get("traceparent") != "",
				"fault":     s.Reply() != nil,
			}
			for p, did := range seen {
				if did != (p == policy) {
					t.Errorf("%s acted: %v", p, did)
				}
			}
			other := limitConfig
			if policy == "ratelimit" {
				other = canaryConfig
			}
			if _, err := m.Start(wasmtest.Options{Config: "{" + other + "}"}); err == nil {
				t.Error("takes the configuration of another policy")
			}
		})
	}
}

// TestSeriesAreBounded: labels that clients or routes choose must not fill Envoy with metrics.
func TestSeriesAreBounded(t *testing.T) {
	vm := start(t, "")
	const n = 2500
	for i := range n {
		vm.Request(nil, map[string]string{metadataPath + "config": fmt.Sprintf(
			`{"fault":{"rules":[{"name":"t.%d;x","abort":{"percentage":100,"httpStatus":500}}]}}`, i)}).End()
	}
	if got := len(vm.Metrics()); got > 2100 {
		t.Errorf("%d series", got)
	}
	if vm.Metric("mizzen_fault_aborts_total;rule=t_7_x") != 1 || vm.Metric("mizzen_fault_aborts_total;rule=other") < n-2048 {
		t.Errorf("other: %d", vm.Metric("mizzen_fault_aborts_total;rule=other"))
	}
}
