package extend

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/internal/tinywasm"
)

// plugin is a WasmPlugin for one workload; more are lines of its spec.
func plugin(name, app, url string, more ...string) string {
	spec := ""
	for _, line := range more {
		spec += "\n  " + line
	}
	return fmt.Sprintf(`---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: %s}}
  url: %s%s
`, name, app, url, spec)
}

// moduleFile writes a module; write puts another in its place.
func moduleFile(t *testing.T) (url string, write func(tinywasm.Plugin)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plugin.wasm")
	write = func(p tinywasm.Plugin) {
		t.Helper()
		if err := os.WriteFile(file+".new", p.Module(), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + file, write
}

func responding(name, value string) tinywasm.Plugin {
	return tinywasm.Plugin{ResponseHeader: [2]string{name, value}}
}

// TestWasmPluginFile: a plugin in one workload's proxy sees its requests, its configuration and its environment, and no other's
// requests. A new module takes the old one's place without a request that fails or passes by.
func TestWasmPluginFile(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	url, write := moduleFile(t)
	write(tinywasm.Plugin{ResponseHeader: [2]string{"x-plugin", ""}, Env: "x-env"})
	m.Apply(t, plugin("file", "api", url, "pluginConfig: {a: 1}", "vmConfig: {env: [{name: MODE, value: strict}]}"))
	a := c.Await(t, "the header", func(a meshtest.Answer) bool { return a.Code == 200 && a.Header.Get("x-plugin") != "" }, api)
	if a.Header.Get("x-plugin") != `{"a":1}` || a.Header.Get("x-env") != "MODE=strict" {
		t.Errorf("configuration %q, environment %q", a.Header.Get("x-plugin"), a.Header.Get("x-env"))
	}
	if a := c.Must(t, other); a.Code != 200 || a.Header.Get("x-plugin") != "" {
		t.Errorf("the other workload answers %d with %q", a.Code, a.Header.Get("x-plugin"))
	}
	write(responding("x-plugin", "second"))
	meshtest.Eventually(t, "the second module", func() bool {
		a := c.Must(t, api)
		if a.Code != 200 || a.Header.Get("x-plugin") == "" {
			t.Fatalf("while the module is replaced: %d, header %q", a.Code, a.Header.Get("x-plugin"))
		}
		return a.Header.Get("x-plugin") == "second"
	})
}

// source serves modules that may be away.
type source struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked map[string]int
}

func newSource(t *testing.T) *source {
	t.Helper()
	s := &source{files: map[string][]byte{}, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked[r.URL.Path]++
		if s.files[r.URL.Path] == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(s.files[r.URL.Path])
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *source) put(path string, p tinywasm.Plugin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = p.Module()
}

// TestWasmPluginFetched: while a module cannot be fetched, requests are refused, or pass where failStrategy says so, nothing else is
// disturbed, and the reason is told; once it can be, the plugin is there.
func TestWasmPluginFetched(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	s := newSource(t)
	m.Apply(t, plugin("closed", "api", s.URL+"/module.wasm")+plugin("open", "other", s.URL+"/module.wasm", "failStrategy: FAIL_OPEN"))
	a := c.Await(t, "a refusal", func(a meshtest.Answer) bool { return a.Code == 503 }, api)
	if a.Body != "WasmPlugin default/closed is not there yet" {
		t.Errorf("it says %q", a.Body)
	}
	if a := c.Must(t, other); a.Code != 200 || a.Header.Get("x-fetched") != "" {
		t.Errorf("with FAIL_OPEN: %d, header %q", a.Code, a.Header.Get("x-fetched"))
	}
	meshtest.Eventually(t, "the reason", func() bool {
		return strings.Contains(m.Output(), "[MZ0610] (WasmPlugin default/closed)") && strings.Contains(m.Output(), "answers 404")
	})
	s.put("/module.wasm", responding("x-fetched", "fetched"))
	c.Await(t, "the plugin", hasHeader("x-fetched", "fetched"), api)
	c.Await(t, "the other plugin", hasHeader("x-fetched", "fetched"), other)
}

// adding is a plugin that adds a header to requests.
func adding(name, value string) tinywasm.Plugin {
	return tinywasm.Plugin{RequestHeader: [2]string{name, value}}
}

// TestPluginPhases: what a plugin adds to a request is seen by what comes after it: tokens and policies after AUTHN, policies after
// AUTHZ, the workload alone after STATS and without a phase. Within a phase the highest priority comes first.
func TestPluginPhases(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	url, write := moduleFile(t)
	write(adding("x-from-plugin", "yes"))
	m.Apply(t, `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-from-plugins}
spec:
  selector: {matchLabels: {app: api}}
  action: DENY
  rules: [{when: [{key: "request.headers[x-from-plugin]", values: ["yes"]}]}]
`)
	for phase, code := range map[string]int{"AUTHN": 403, "AUTHZ": 403, "STATS": 200, "UNSPECIFIED_PHASE": 200} {
		t.Run(phase, func(t *testing.T) {
			m.Apply(t, plugin("phase", "api", url, "phase: "+phase))
			c.Await(t, "what the phase means", func(a meshtest.Answer) bool {
				return a.Code == code && (code == 403 || strings.Contains(a.Body, `"x-from-plugin"`))
			}, api, "accept: application/json")
		})
	}
	t.Run("priority", func(t *testing.T) {
		first, writeFirst := moduleFile(t)
		writeFirst(tinywasm.Plugin{Refuse: 401})
		second, writeSecond := moduleFile(t)
		writeSecond(tinywasm.Plugin{Refuse: 418})
		m.Apply(t, plugin("a", "other", first, "phase: AUTHN", "priority: 1")+plugin("b", "other", second, "phase: AUTHN", "priority: 2"))
		c.Await(t, "the higher priority", func(a meshtest.Answer) bool { return a.Code == 418 }, other)
		m.Apply(t, plugin("b", "other", second, "phase: AUTHN", "priority: -2"))
		c.Await(t, "the other one", func(a meshtest.Answer) bool { return a.Code == 401 }, other)
	})
}

// TestPluginTraffic: at a gateway, and in a sidecar for the calls of its workload, to some ports only.
func TestPluginTraffic(t *testing.T) {
	m := shared.Mesh(t)
	url, write := moduleFile(t)
	write(responding("x-traffic", "here")) // a name of this test's own: connections from before may have listeners from before
	t.Run("gateway", func(t *testing.T) {
		m.Apply(t, `
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: edge}
spec: {targetRefs: [{kind: Gateway, group: networking.istio.io, name: edge}], url: "`+url+`"}
`)
		m.ViaGateway().Await(t, "the header", hasHeader("x-traffic", "here"), "/")
		if a := m.From(t, "front-0").Must(t, api); a.Header.Get("x-traffic") != "" {
			t.Error("calls within the mesh pass through it too")
		}
	})
	t.Run("calls", func(t *testing.T) {
		m.Apply(t, plugin("calls", "front", url, "match: [{mode: CLIENT, ports: [{number: 8001}]}]"))
		c := m.From(t, "front-0")
		c.Await(t, "the header", hasHeader("x-traffic", "here"), "http://bytes:8001/")
		if a := c.Must(t, api); a.Code != 200 || a.Header.Get("x-traffic") != "" {
			t.Errorf("calls to another port: %d, header %q", a.Code, a.Header.Get("x-traffic"))
		}
		if a := m.From(t, "other-0").Must(t, "http://front:8000/"); a.Header.Get("x-traffic") != "" {
			t.Error("what others ask of the workload passes through it too")
		}
	})
	t.Run("served", func(t *testing.T) {
		m.Apply(t, plugin("served", "bytes", url, "match: [{mode: SERVER, ports: [{number: 8001}]}]"))
		m.From(t, "front-0").Await(t, "the header", hasHeader("x-traffic", "here"), "http://bytes:8001/")
	})
}

// many are so many headers that a plugin of TestPluginTraps ends.
func many() []string {
	var out []string
	for i := range 40 {
		out = append(out, fmt.Sprintf("x-many-%d: x", i))
	}
	return out
}

// TestPluginTraps: once a plugin has ended, requests are refused, pass by, or meet a new one, as failStrategy says.
func TestPluginTraps(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	for strategy, then := range map[string]func(meshtest.Answer) bool{
		"FAIL_CLOSE":  func(a meshtest.Answer) bool { return a.Code == 503 },
		"FAIL_OPEN":   func(a meshtest.Answer) bool { return a.Code == 200 && a.Header.Get("x-plugin") == "" },
		"FAIL_RELOAD": hasHeader("x-plugin", "here"),
	} {
		t.Run(strategy, func(t *testing.T) {
			url, write := moduleFile(t)
			write(tinywasm.Plugin{TrapAbove: 30, ResponseHeader: [2]string{"x-plugin", "here"}})
			name := strings.ToLower(strings.ReplaceAll(strategy, "_", "-"))
			m.Apply(t, plugin(name, "api", url, "failStrategy: "+strategy))
			c.Await(t, "the plugin", hasHeader("x-plugin", "here"), api)
			if a := c.Must(t, api, many()...); a.Header.Get("x-plugin") != "" || a.Code == 200 && strategy == "FAIL_CLOSE" {
				t.Errorf("with the request that ends it: %d, header %q", a.Code, a.Header.Get("x-plugin"))
			}
			c.Await(t, "what follows", then, api)
		})
	}
}

// TestPluginRefused: a plugin that refuses its configuration, and a module that is none, are told and stand for what failStrategy
// says; what is applied meanwhile takes effect. Mended, the plugin is there.
func TestPluginRefused(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	for name, does := range map[string]tinywasm.Plugin{"refuses": {BadConfig: true}, "is-none": {NotForProxies: true}} {
		for strategy, code := range map[string]int{"FAIL_CLOSE": 503, "FAIL_OPEN": 200} {
			t.Run(name+" "+strategy, func(t *testing.T) {
				url, write := moduleFile(t)
				write(does)
				id := name + "-" + strings.ToLower(strings.ReplaceAll(strategy, "_", "-"))
				yaml := plugin(id, "api", url, "failStrategy: "+strategy)
				out, status := m.Run(t, yaml, "apply", "-f", "-")
				t.Cleanup(func() { m.Run(t, yaml, "delete", "-f", "-") })
				if !strings.Contains(out, "(WasmPlugin default/"+id+")") {
					t.Errorf("apply ended with %d:\n%s", status, out)
				}
				m.Apply(t, luaExtension("meanwhile-"+id, "api", `function envoy_on_response(h) h:headers():add("x-lua", "`+id+`") end`))
				a := c.Await(t, "what was applied meanwhile", func(a meshtest.Answer) bool { return a.Header.Get("x-lua") == id }, api)
				if a.Code != code {
					t.Errorf("it answers %d, want %d", a.Code, code)
				}
				write(responding("x-plugin", "mended")) // (the other extension has a name of its own: connections from before have other listeners)
				c.Await(t, "the plugin, mended", hasHeader("x-plugin", "mended"), api)
			})
		}
	}
}
