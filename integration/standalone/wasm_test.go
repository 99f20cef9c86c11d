package standalone

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// wasmModule builds a .wasm and returns its path.
func wasmModule(t *testing.T, name, command string) string {
	t.Helper()
	file := filepath.Join(envoytest.Root(), "build", name+".wasm")
	if err := wasmtest.BuildGo(envoytest.Root(), "./wasm/cmd/"+command, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// startWasm starts a proxy in front of one upstream, with a module of ours. A request with x-mizzen-route: v2 goes to
// route "second"; route /route has metadata of its own.
func startWasm(t *testing.T, module, config, route string, workers int) *envoytest.Envoy {
	t.Helper()
	u := envoytest.NewUpstream(t, "upstream")
	metadata := static.Obj{"metadata": static.Obj{"filter_metadata": static.Obj{"mizzen": static.Obj{"config": route}}}}
	return envoytest.Start(t, envoytest.Options{Concurrency: workers, Module: module,
		Config: static.Bootstrap(map[string]int{"upstream": u.Port, "nobody": 0}, static.Listener{
			Name: "test", Port: 10000,
			AccessLog: static.TextLog("LOG %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% panic=%FILTER_STATE(wasm.mizzen.panic:PLAIN)%"),
			Filters:   static.List{static.WasmFilter(module, "mizzen", config)},
			Routes: static.List{
				static.Route("route", "/route", "upstream", metadata),
				second("x-mizzen-route"),
				static.Route("first", "/", "upstream", nil),
			},
		})})
}

// TestWasmHostMapsVerdicts is TestHostMapsVerdicts for the wasm host, as far as it goes.
func TestWasmHostMapsVerdicts(t *testing.T) {
	envoytest.Find(t)
	e := startWasm(t, wasmModule(t, "probe", "probe"), `{"probe":{"tag":"base"}}`, `{"probe":{"tag":"route"}}`, 2)
	cases := []struct {
		name, probe, path string
		status            int
		check             func(a *envoytest.Answer) string
	}{
		{name: "goes on", status: 200, check: echoes("x-probe-tag", "base")},
		{name: "route metadata wins", path: "/route", status: 200, check: echoes("x-probe-tag", "route")},
		{name: "local reply passes the response side once", probe: "reply=418", status: 418, check: func(a *envoytest.Answer) string {
			return want(a.Body+a.Header.Get("x-reply")+strings.Join(a.Header.Values("x-probe-response"), ","), "probe\nprobe418")
		}},
		{name: "response side", status: 200, check: has("x-probe-response", "200")},
		{name: "reroute", probe: "reroute=v2", status: 200, check: echoes("x-second", "yes")},
		{name: "wait then reroute", probe: "wait=20ms reroute=v2", status: 200, check: echoes("x-second", "yes")},
		{name: "wait then reply", probe: "wait=20ms reply=503", status: 503},
		{name: "wait", probe: "wait=300ms", status: 200, check: func(a *envoytest.Answer) string {
			if a.Took < 300*time.Millisecond || a.Took > 10*time.Second {
				return a.Took.String()
			}
			return ""
		}},
		{name: "response lost", probe: "lose=502", status: 502},
		{name: "response waits", probe: "wait-response=50ms", status: 200, check: func(a *envoytest.Answer) string {
			if a.Took < 50*time.Millisecond {
				return a.Took.String()
			}
			return want(a.Header.Get("x-probe-response"), "200")
		}},
		{name: "call", probe: "call=upstream", status: 200, check: func(a *envoytest.Answer) string {
			if got := a.Echo().Headers["x-called"]; !strings.Contains(got, "who?") {
				return got
			}
			return ""
		}},
		{name: "wait then call", probe: "wait=10ms call=upstream", status: 200, check: func(a *envoytest.Answer) string {
			if got := a.Echo().Headers["x-called"]; !strings.Contains(got, "who?") {
				return got
			}
			return ""
		}},
		{name: "call to nobody", probe: "call=nobody", status: 200, check: func(a *envoytest.Answer) string {
			if got := a.Echo().Headers["x-called"]; got == "" {
				return "not resumed"
			}
			return ""
		}},
		{name: "call to an unknown cluster", probe: "call=unknown", status: 200, check: func(a *envoytest.Answer) string {
			if got := a.Echo().Headers["x-called"]; !strings.HasPrefix(got, "cannot send") {
				return got
			}
			return ""
		}},
		{name: "route name and address", probe: "tell", status: 200, check: echoes("x-tell", "first 127.0.0.1")},
		{name: "panic", probe: "panic", status: 200},
		{name: "panic on the response", probe: "panic-response", status: 200},
		{name: "panic at the end", probe: "panic-end", status: 200},
		{name: "after panics", status: 200, check: echoes("x-probe-tag", "base")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := c.path
			if path == "" {
				path = "/"
			}
			a := e.Get(t, ingress, path, "x-probe: "+c.probe)
			if a.Status != c.status {
				t.Fatalf("status %d, want %d: %s", a.Status, c.status, a.Body)
			}
			if c.check != nil {
				if msg := c.check(a); msg != "" {
					t.Errorf("%s\nbody %s", msg, a.Body)
				}
			}
		})
	}
	grpc := e.DoHTTP2(t, envoytest.NewRequest(t, "POST", "http://"+e.Addr(ingress)+"/pkg.Service/Method", "",
		"content-type: application/grpc", "x-probe: reply=503", "te: trailers"))
	if grpc.Status != 200 || grpc.Header.Get("grpc-status") != "14" || grpc.Header.Get("grpc-message") != "probe%0A" {
		t.Errorf("a gRPC request is answered with %+v", grpc)
	}
	if got := sum(e.Stats(t, "mizzen_panics_total")); got != 3 {
		t.Errorf("%d panics counted, want 3", got)
	}
	leaksNothing(t, e)
	e.Stop()
	for _, line := range []string{"LOG 418 mizzen_probe", "panic=probe: asked to panic"} {
		if !strings.Contains(e.Log(), line) {
			t.Errorf("access log lacks %q:\n%s", line, e.Log())
		}
	}
}

// leaksNothing is TestManyRequestsLeakNothing, on an Envoy that is there: a VM for each worker takes seconds to start.
func leaksNothing(t *testing.T, e *envoytest.Envoy) {
	t.Helper()
	kinds := []string{"", "wait=1ms", "reply=418", "panic", "", "reroute=v2", "lose=502", "call=upstream", "wait-response=1ms", "panic-end"}
	headers := func(i int) []string { return []string{"x-probe: " + kinds[i%len(kinds)]} }
	const n = 1500
	flood(t, e, n, headers)
	before := rss(t, e.PID())
	got := flood(t, e, n, headers)
	if got[200] != n*8/10 || got[418] != n/10 || got[502] != n/10 {
		t.Errorf("answers: %v", got)
	}
	envoytest.Await(t, 5*time.Second, "every exchange ended", func() bool { return sum(e.Stats(t, "mizzen_probe_open")) == 0 })
	if grown := rss(t, e.PID()) - before; grown > 16<<20 {
		t.Errorf("memory grew by %d KiB over %d requests", grown>>10, n)
	}
}
