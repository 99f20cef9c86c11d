package standalone

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
)

// bootstrap is a proxy in front of one upstream, with the chain configured by filter. Route /route has a level of its
// own, perRoute; a request with x-route: v2 goes to route "second".
func bootstrap(upstream int, filter, perRoute string) string {
	if perRoute == "" {
		perRoute = "{}"
	}
	return static.Bootstrap(map[string]int{"upstream": upstream, "nobody": 0}, static.Listener{
		Name: "test", Port: 10000,
		AccessLog: static.TextLog("LOG %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% flags=%CUSTOM_FLAGS% told=%DYNAMIC_METADATA(mizzen:told)% tag=%REQ(X-PROBE-TAG)%"),
		Filters:   static.List{static.ModuleFilter("probe", "mizzen", "mizzen", filter)},
		Routes: static.List{
			static.Route("route", "/route", "upstream", static.Obj{"typed_per_filter_config": static.ModuleRoute("probe", "mizzen", "mizzen", perRoute)}),
			second("x-route"),
			static.Route("first", "/", "upstream", nil),
		},
	})
}

// second is a route for requests with that header: v2. It tells the upstream that it was chosen.
func second(header string) static.Obj {
	r := static.AddHeader("x-second", "yes")
	r["match"] = static.WithHeader(header, "v2")
	return static.Route("second", "/", "upstream", r)
}

func start(t *testing.T, filter, perRoute string, workers int) (*envoytest.Envoy, *envoytest.Upstream) {
	t.Helper()
	envoytest.Find(t)
	u := envoytest.NewUpstream(t, "upstream")
	return envoytest.Start(t, envoytest.Options{
		Config:      bootstrap(u.Port, filter, perRoute),
		Concurrency: workers,
		Module:      envoytest.BuildModule(t, "filters/cmd/probe", "probe"),
	}), u
}

const probeConfig = `{"probe":{"tag":"base"}}`

func TestHostMapsVerdicts(t *testing.T) {
	e, _ := start(t, probeConfig, `{"probe":{"tag":"route"}}`, 1)
	cases := []struct {
		name, probe, path string
		status            int
		check             func(a *envoytest.Answer) string // "" is good
	}{
		{name: "goes on", status: 200, check: echoes("x-probe-tag", "base")},
		{name: "most specific level wins", path: "/route", status: 200, check: echoes("x-probe-tag", "route")},
		{name: "local reply", probe: "reply=418", status: 418, check: func(a *envoytest.Answer) string {
			return want(a.Body+a.Header.Get("x-reply"), "probe\nprobe")
		}},
		{name: "local reply passes the response side", probe: "reply=418 mark", status: 418, check: has("x-probe-response", "418")},
		{name: "response side reads and writes", probe: "mark", status: 200, check: has("x-probe-response", "200")},
		{name: "reroute", probe: "reroute=v2", status: 200, check: echoes("x-second", "yes")},
		{name: "no reroute", status: 200, check: echoes("x-second", "")},
		{name: "edits", probe: "remove=x-gone add=x-twice empty", status: 200, check: func(a *envoytest.Answer) string {
			h := a.Echo().Headers
			v, ok := h["x-empty"] // Envoy cannot be told to set an empty header
			return want(fmt.Sprintf("%q %q %q %v", h["x-gone"], h["x-twice"], v, ok), `"" "once,added" "" false`)
		}},
		{name: "call", probe: "call=upstream", status: 200, check: func(a *envoytest.Answer) string {
			h := a.Echo().Headers
			return want(fmt.Sprint(h["x-called-status"], strings.Contains(h["x-called"], "who?")), "200true")
		}},
		{name: "call to nobody", probe: "call=nobody", status: 200, check: func(a *envoytest.Answer) string {
			if got := a.Echo().Headers["x-called"]; got == "" {
				return "not resumed"
			}
			return ""
		}},
		{name: "call to an unknown cluster", probe: "call=unknown", status: 200, check: echoes("x-called", "no such cluster")},
		{name: "wait then reply", probe: "wait=20ms reply=503", status: 503},
		{name: "wait then reroute", probe: "wait=20ms reroute=v2", status: 200, check: echoes("x-second", "yes")},
		{name: "response lost", probe: "lose=502", status: 502, check: has("x-reply", "probe")},
		{name: "response waits", probe: "wait-response=50ms mark", status: 200, check: func(a *envoytest.Answer) string {
			if a.Took < 50*time.Millisecond {
				return a.Took.String()
			}
			return want(a.Header.Get("x-probe-response"), "200")
		}},
		{name: "route name and address", probe: "tell", status: 200, check: echoes("x-tell", "first 127.0.0.1")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := c.path
			if path == "" {
				path = "/"
			}
			a := e.Get(t, 10000, path, "x-probe: "+c.probe, "x-gone: 1", "x-twice: once")
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
	e.Stop()
	for _, line := range []string{"LOG 418 mizzen_probe flags=PR", "flags=PRA,PRB told=yes tag=base"} {
		if !strings.Contains(e.Log(), line) {
			t.Errorf("access log lacks %q:\n%s", line, e.Log())
		}
	}
}

func TestHostAnswersGRPC(t *testing.T) {
	e, _ := start(t, probeConfig, "", 1)
	req := envoytest.NewRequest(t, "POST", "http://"+e.Addr(10000)+"/pkg.Service/Method", "", "content-type: application/grpc", "x-probe: reply=503:7", "te: trailers")
	a := e.DoHTTP2(t, req)
	if a.Status != 200 || a.Header.Get("grpc-status") != "7" {
		t.Errorf("gRPC abort: status %d, headers %v, trailers %v; want 200 and grpc-status 7", a.Status, a.Header, a.Trailer)
	}
	if a := e.Get(t, 10000, "/", "x-probe: reply=503:7"); a.Status != 503 || a.Header.Get("grpc-status") != "" {
		t.Errorf("plain HTTP: %d %v; want 503 without grpc-status", a.Status, a.Header)
	}
}

func TestHostSurvivesPanics(t *testing.T) {
	cases := []struct {
		name, config, probe string
		status              int
		panics              int64
	}{
		{"open, request", probeConfig, "panic", 200, 1},
		{"open, response", probeConfig, "panic-response", 200, 1},
		{"open, end", probeConfig, "panic-end", 200, 1},
		{"closed, request", `{"failure":"closed","probe":{}}`, "panic", 500, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e, _ := start(t, c.config, "", 1)
			if a := e.Get(t, 10000, "/", "x-probe: "+c.probe); a.Status != c.status {
				t.Errorf("status %d, want %d", a.Status, c.status)
			}
			if a := e.Get(t, 10000, "/"); a.Status != 200 {
				t.Errorf("next request: status %d", a.Status)
			}
			envoytest.Await(t, 5*time.Second, "the panic is counted", func() bool { return sum(e.Stats(t, "mizzen.*panics_total")) == c.panics })
		})
	}
}

func TestHostRejectsBadConfiguration(t *testing.T) {
	envoytest.Find(t)
	cases := []struct{ name, base, route, text string }{
		{"unknown policy", `{"prob":{}}`, "", `unknown field \"prob\"`},
		{"unknown field", `{"probe":{"tga":1}}`, "", `configure policy probe: json: unknown field \"tga\"`},
		{"not JSON", `{"probe":`, "", "parse mizzen configuration: unexpected EOF"},
		{"bad failure mode", `{"failure":"maybe"}`, "", `want \"open\" or \"closed\"`},
		{"panic in the parser", `{"probe":{"panic":true}}`, "", "asked to panic in the configuration"},
		{"route level", probeConfig, `{"probe":{"tga":1}}`, `configure policy probe: json: unknown field \"tga\"`},
	}
	so := envoytest.BuildModule(t, "filters/cmd/probe", "probe")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, err := envoytest.Validate(t, bootstrap(1, c.base, c.route), so)
			if err == nil {
				t.Fatal("Envoy took it")
			}
			if plain := strings.ReplaceAll(c.text, `\"`, `"`); !strings.Contains(out, plain) {
				t.Errorf("Envoy's log lacks %q:\n%s", plain, out)
			}
		})
	}
}

func TestHostWaits(t *testing.T) {
	e, u := start(t, probeConfig, "", 2)
	t.Run("as long as asked", func(t *testing.T) {
		a := e.Get(t, 10000, "/", "x-probe: wait=300ms")
		if a.Took < 300*time.Millisecond || a.Took > 10*time.Second {
			t.Errorf("took %v, want 300ms", a.Took)
		}
	})
	t.Run("with a body", func(t *testing.T) {
		body := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB, more than Envoy buffers for a stream at once
		a := e.Do(t, envoytest.NewRequest(t, "POST", "http://"+e.Addr(10000)+"/", body, "x-probe: wait=100ms reroute=v2"))
		if got := a.Echo(); a.Status != 200 || got.Body != body || got.Headers["x-second"] != "yes" {
			t.Errorf("status %d, %d of %d bytes arrived, headers %v", a.Status, len(got.Body), len(body), got.Headers)
		}
	})
	t.Run("client gone meanwhile", func(t *testing.T) {
		before := u.Requests()
		const n = 50
		for range n {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			req := envoytest.NewRequest(t, "GET", "http://"+e.Addr(10000)+"/", "", "x-probe: wait=200ms").WithContext(ctx)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				t.Error("answered before the wait ended")
			}
			cancel()
		}
		settled(t, e)
		if got := u.Requests(); got != before {
			t.Errorf("%d requests reached the upstream after their clients had gone", got-before)
		}
	})
}

// settled waits until every exchange has ended, and asserts that as many ended as began.
func settled(t *testing.T, e *envoytest.Envoy) {
	t.Helper()
	envoytest.Await(t, 10*time.Second, "every exchange has ended", func() bool {
		s := e.Stats(t, "mizzen.*probe")
		var begun, ended, open int64
		for name, n := range s {
			switch {
			case strings.Contains(name, "probe_begun"):
				begun += n
			case strings.Contains(name, "probe_ended"):
				ended += n
			case strings.Contains(name, "probe_open"):
				open += n
			}
		}
		return begun > 0 && begun == ended && open == 0
	})
}

func sum(m map[string]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}

func want(got, want string) string {
	if got != want {
		return fmt.Sprintf("got %q, want %q", got, want)
	}
	return ""
}

func echoes(name, value string) func(*envoytest.Answer) string {
	return func(a *envoytest.Answer) string { return want(strings.TrimSpace(a.Echo().Headers[name]), value) }
}

func has(name, value string) func(*envoytest.Answer) string {
	return func(a *envoytest.Answer) string { return want(a.Header.Get(name), value) }
}
