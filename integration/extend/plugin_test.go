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
	"time"

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
	if a := c.Must(t, other); a.Code != 200 || a.Header.Get("x-plugin") != "" {
		t.Errorf("with FAIL_OPEN: %d, header %q", a.Code, a.Header.Get("x-plugin"))
	}
	meshtest.Eventually(t, "the reason", func() bool {
		return strings.Contains(m.Output(), "[MZ0610] (WasmPlugin default/closed)") && strings.Contains(m.Output(), "answers 404")
	})
	s.put("/module.wasm", responding("x-plugin", "fetched"))
	c.Await(t, "the plugin", hasHeader("x-plugin", "fetched"), api)
	c.Await(t, "the other plugin", hasHeader("x-plugin", "fetched"), other)
	_ = time.Second
}
