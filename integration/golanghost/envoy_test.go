package golanghost

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
	"github.com/mizzen-mesh/mizzen/integration/golanghost/harness"
)

// module returns libgolanghost.so, built with gcc into the folder of the golang libraries.
func module(t *testing.T) string {
	t.Helper()
	path, err := harness.Module()
	if err != nil {
		envoytest.Missing(t, err)
	}
	return path
}

// plugin is one golang plugin in a chain, "PLUGIN@LIBRARY"; text is its configuration as JSON.
func plugin(name, plugin, text string) static.Obj {
	f := static.ModuleFilter("golanghost", plugin, "mizzen", "")
	f["name"] = name
	f["typed_config"].(static.Obj)["filter_config"] = static.Obj{"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "value": json.RawMessage(text)}
	return f
}

func bootstrap(upstream int, perRoute string, filters ...any) string {
	second := static.AddHeader("x-second", "yes")
	second["match"] = static.WithHeader("x-route", "v2")
	return static.Bootstrap(map[string]int{"upstream": upstream}, static.Listener{
		Name: "test", Port: 10000, Filters: filters,
		AccessLog: static.TextLog("LOG %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% flags=%DYNAMIC_METADATA(mizzen:flags)% told=%DYNAMIC_METADATA(mizzen:told)% over=%DYNAMIC_METADATA(mizzen:over)%"),
		Routes: static.List{
			static.Route("route", "/route", "upstream", static.Obj{"typed_per_filter_config": static.ModuleRoute("golanghost", "mizzen@libgolangprobe.so", "mizzen", perRoute)}),
			static.Route("second", "/", "upstream", second),
			static.Route("first", "/", "upstream", nil),
		},
	})
}

func start(t *testing.T, perRoute string, workers int, filters ...any) *envoytest.Envoy {
	t.Helper()
	envoytest.Find(t)
	probe(t)
	u := envoytest.NewUpstream(t, "upstream")
	return envoytest.Start(t, envoytest.Options{Config: bootstrap(u.Port, perRoute, filters...), Concurrency: workers, Module: module(t)})
}

// chain is Mizzen's chain with the policy for tests.
func chain() static.Obj {
	return plugin("mizzen", "mizzen@libgolangprobe.so", `{"probe": {"tag": "base"}}`)
}

// bodies is a plugin of somebody else.
func bodies(name string) static.Obj { return plugin(name, "body@libgolangprobe.so", "{}") }

func TestEnvoyRunsContribLibrary(t *testing.T) {
	e := start(t, `{"probe":{"tag":"route"}}`, 1, chain())
	echo := func(a *envoytest.Answer, name string) string { return a.Echo().Headers[name] }
	cases := []struct {
		name, probe, path string
		status            int
		got               func(a *envoytest.Answer) string
		want              string
	}{
		{name: "goes on", status: 200, got: func(a *envoytest.Answer) string { return echo(a, "x-probe-tag") }, want: "base"},
		{name: "merged with the route", path: "/route", status: 200, got: func(a *envoytest.Answer) string { return echo(a, "x-probe-tag") }, want: "route"},
		{name: "edits", probe: "edit", status: 200, got: func(a *envoytest.Answer) string { return echo(a, "x-remove") + "|" + echo(a, "x-add") }, want: "|own,added"},
		{name: "reply", probe: "reply=418", status: 418, got: func(a *envoytest.Answer) string { return a.Body + a.Header.Get("x-reply") }, want: "probe\nprobe"},
		{name: "a reply passes the response side", probe: "reply=418,mark", status: 418, got: func(a *envoytest.Answer) string { return a.Header.Get("x-probe-response") }, want: "418"},
		{name: "a reply waits on the response side", probe: "reply=418,wait-response=30ms,mark", status: 418, got: func(a *envoytest.Answer) string { return a.Header.Get("x-probe-response") }, want: "418"},
		{name: "a reply is lost for another", probe: "reply=418,lose=502", status: 502},
		{name: "response side", probe: "mark", status: 200, got: func(a *envoytest.Answer) string { return a.Header.Get("x-probe-response") }, want: "200"},
		{name: "response waits", probe: "wait-response=50ms,mark", status: 200, got: func(a *envoytest.Answer) string {
			return words(a.Header.Get("x-probe-response"), a.Took >= 50*time.Millisecond)
		}, want: "200 true"},
		{name: "response lost", probe: "lose=502", status: 502, got: func(a *envoytest.Answer) string { return a.Header.Get("x-reply") }, want: "probe"},
		{name: "late response lost", probe: "wait-response=20ms,lose=502", status: 502},
		{name: "reroute", probe: "reroute=v2", status: 200, got: func(a *envoytest.Answer) string { return echo(a, "x-second") }, want: "yes"},
		{name: "wait, then reroute", probe: "wait=20ms,reroute=v2", status: 200, got: func(a *envoytest.Answer) string { return words(echo(a, "x-second"), a.Took >= 20*time.Millisecond) }, want: "yes true"},
		{name: "wait, then reply", probe: "wait=20ms,reply=503", status: 503},
		{name: "route name and address", probe: "wait=1ms,tell", status: 200, got: func(a *envoytest.Answer) string { return echo(a, "x-tell") }, want: "first 127.0.0.1"},
		{name: "panic", probe: "panic", status: 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := c.path
			if path == "" {
				path = "/"
			}
			a := e.Get(t, 10000, path, "x-probe: "+c.probe, "x-remove: 1", "x-add: own")
			if a.Status != c.status {
				t.Fatalf("status %d, want %d: %s", a.Status, c.status, a.Body)
			}
			if c.got != nil {
				if got := c.got(a); got != c.want {
					t.Errorf("got %q, want %q\n%s", got, c.want, a.Body)
				}
			}
		})
	}
	t.Run("gRPC", func(t *testing.T) {
		req := envoytest.NewRequest(t, "POST", "http://"+e.Addr(10000)+"/pkg.Service/Method", "", "content-type: application/grpc", "x-probe: reply=503:7", "te: trailers")
		if a := e.DoHTTP2(t, req); a.Status != 200 || a.Header.Get("grpc-status") != "7" {
			t.Errorf("status %d, headers %v", a.Status, a.Header)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		envoytest.Await(t, 5*time.Second, "everything is counted", func() bool {
			s := stats(t, e)
			return s["probe_begun"] == int64(len(cases)+1) && s["probe_ended"] == int64(len(cases)+1) && s["probe_open"] == 0 && s["panics"] == 1
		})
	})
	e.Stop()
	for _, line := range []string{"LOG 418 mizzen_probe flags=PR", "flags=PRA,PRB told=yes over=true"} {
		if !strings.Contains(e.Log(), line) {
			t.Errorf("the access log lacks %q:\n%s", line, e.Log())
		}
	}
}

// stats sums the plugin's metrics by the start of their names.
func stats(t *testing.T, e *envoytest.Envoy) map[string]int64 {
	t.Helper()
	sums := map[string]int64{}
	for name, n := range e.Stats(t, "golang_") {
		for _, want := range []string{"probe_begun", "probe_ended", "probe_open", "panics"} {
			if strings.Contains(name, "mizzen."+want) {
				sums[want] += n
			}
		}
	}
	return sums
}

// TestEnvoyExample: what the README of golanghost says to do, with the plugin of its example.
func TestEnvoyExample(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(envoytest.Root(), "filters/host/golanghost/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "   http_filters:\n   - name")
	filter, _, _ := strings.Cut(rest, "```")
	var parsed static.Obj
	if err := yaml.Unmarshal([]byte("name"+strings.ReplaceAll(filter, "\n     ", "\n")), &parsed); err != nil {
		t.Fatal(err)
	}
	envoytest.BuildModule(t, "filters/cmd/golangexample", "hello")
	if a := start(t, "{}", 1, parsed).Get(t, 10000, "/"); a.Status != 200 || a.Header.Get("x-hello") != "world" {
		t.Errorf("status %d, headers %v", a.Status, a.Header)
	}
}

// TestEnvoyBodies: a plugin that rewrites bodies, in every way that it may take its time.
func TestEnvoyBodies(t *testing.T) {
	e := start(t, "{}", 1, bodies("first"), chain(), bodies("second"))
	var rows strings.Builder // 160 kB: several chunks, none like another
	for i := range 16_000 {
		fmt.Fprintf(&rows, "row %05d\n", i)
	}
	big := rows.String()
	for _, mode := range []string{"none", "each", "whole", "later", "drop"} {
		for _, probe := range []string{"", "wait=20ms", "wait=20ms,wait-response=20ms", "wait=1ms,wait-response=1ms"} {
			for name, text := range map[string]string{"small": "hello", "big": big, "none": ""} {
				t.Run(mode+" "+name+" "+probe, func(t *testing.T) {
					req := envoytest.NewRequest(t, "POST", "http://"+e.Addr(10000)+"/", text, "x-body: "+mode, "x-probe: "+probe)
					if mode == "drop" {
						req.ContentLength = -1
					}
					a := e.Do(t, req)
					want := text
					switch mode {
					case "each", "whole", "later":
						want = strings.ToUpper(text)
					case "drop":
						want = ""
					}
					if got := a.Echo().Body; a.Status != 200 || got != want || a.Header.Get("x-mode") != mode {
						t.Errorf("status %d, %d bytes of %d as wanted: %v, x-mode %q", a.Status, len(got), len(want), got == want, a.Header.Get("x-mode"))
					}
				})
			}
		}
	}
}

// TestEnvoyTrailers: a request's trailers reach the plugin, whatever it does with the body.
func TestEnvoyTrailers(t *testing.T) {
	e := start(t, "{}", 1, bodies("first"), chain(), bodies("second"))
	for i, mode := range []string{"none", "each", "whole", "later", "none", "each", "whole", "later"} {
		t.Run(mode, func(t *testing.T) {
			req := envoytest.NewRequest(t, "POST", "http://"+e.Addr(10000)+"/", "hello", "x-body: "+mode)
			if i >= 4 {
				req.Header.Set("x-probe", "wait=15ms,wait-response=5ms")
			}
			req.ContentLength = -1
			req.Trailer = http.Header{"X-Sum": {"12"}}
			a := e.DoHTTP2(t, req)
			want := "HELLO"
			if mode == "none" {
				want = "hello"
			}
			if a.Status != 200 || a.Echo().Body != want || a.Header.Get("x-sum") != "12" {
				t.Errorf("status %d, body %q, x-sum %q", a.Status, a.Echo().Body, a.Header.Get("x-sum"))
			}
		})
	}
}

// TestEnvoyClientsGoAway: clients leave during delays, on several workers, and Envoy lives.
func TestEnvoyClientsGoAway(t *testing.T) {
	e := start(t, "{}", 2, chain())
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(5+i%40)*time.Millisecond)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", "http://"+e.Addr(10000)+"/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("x-probe", []string{"wait=25ms,tell", "wait=25ms,reply=500", "wait-response=25ms"}[i%3])
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	envoytest.Await(t, 10*time.Second, "every stream ends", func() bool {
		e.Get(t, 10000, "/") // metrics travel with streams
		s := stats(t, e)
		return s["probe_begun"] >= n/2 && s["probe_open"] <= 1
	})
}

func TestEnvoyRefusesBadConfigurations(t *testing.T) {
	envoytest.Find(t)
	probe(t)
	for name, c := range map[string]struct{ plugin, config, want string }{
		"no library named":   {"mizzen", "{}", "PLUGIN@LIBRARY"},
		"no such library":    {"mizzen@libnone.so", "{}", "cannot load the library"},
		"not such a library": {"mizzen@libgolanghost.so", "{}", "not made for contrib"},
		"plugin refuses":     {"mizzen@libgolangprobe.so", `{"falt": {}}`, `unknown field`},
		"plugin panics":      {"mizzen@libgolangprobe.so", `{"probe": {"tag": "panic"}}`, "asked to panic"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := envoytest.Validate(t, bootstrap(1, "{}", plugin("mizzen", c.plugin, c.config)), module(t))
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("error %v, want one with %q:\n%s", err, c.want, out)
			}
		})
	}
}
