// Package extend holds what users add to a mesh by Istio's means of extension: EnvoyFilter, WasmPlugin, Telemetry's access logs, MeshConfig.
// Real Envoys carry the traffic, and what was added shows in what a client sees.
package extend

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

var shared = meshtest.Shared{Manifests: "testdata/shop"}

func TestMain(m *testing.M) { shared.Main(m) }

const (
	api   = "http://api:8000/"
	other = "http://other:8000/"
)

// luaFilter is an EnvoyFilter that puts a Lua filter before the router of one workload's inbound HTTP.
func luaFilter(name, app, code string) string {
	return `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: ` + name + `}
spec:
  workloadSelector: {labels: {app: ` + app + `}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener:
        filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.lua
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          inlineCode: |
            ` + code + `
`
}

func hasHeader(name, value string) func(meshtest.Answer) bool {
	return func(a meshtest.Answer) bool { return a.Code == 200 && a.Header.Get(name) == value }
}

// TestEnvoyFilterLua: a Lua filter in one workload's proxy answers with a header; another workload's does not.
func TestEnvoyFilterLua(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	m.Apply(t, luaFilter("lua", "api", `function envoy_on_response(h) h:headers():add("x-lua", "here") end`))
	c.Await(t, "the header", hasHeader("x-lua", "here"), api)
	if a := c.Must(t, other); a.Code != 200 || a.Header.Get("x-lua") != "" {
		t.Errorf("the other workload answers %d with %q", a.Code, a.Header.Get("x-lua"))
	}
}

// TestEnvoyFilterRoute: routes are changed, put first and given another cluster, in a proxy and in no other.
func TestEnvoyFilterRoute(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: routes}
spec:
  workloadSelector: {labels: {app: front}}
  configPatches:
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {name: "8000", vhost: {name: "api.default.svc.cluster.local:8000", route: {action: ANY}}}}
    patch:
      operation: MERGE
      value: {response_headers_to_add: [{header: {key: x-route, value: patched}}]}
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: "api.default.svc.cluster.local:8000"}}}
    patch:
      operation: INSERT_FIRST
      value: {name: teapot, match: {prefix: /teapot}, direct_response: {status: 418, body: {inline_string: short}}}
  - applyTo: CLUSTER
    match: {context: SIDECAR_OUTBOUND, cluster: {service: api.default.svc.cluster.local}}
    patch: {operation: MERGE, value: {alt_stat_name: patched_api}}
`)
	c := m.From(t, "front-0")
	c.Await(t, "the route's header", hasHeader("x-route", "patched"), api)
	c.Await(t, "the new route", func(a meshtest.Answer) bool { return a.Code == 418 && a.Body == "short" }, api+"teapot")
	if n := m.Stat(t, "front-0", `^cluster\.patched_api\.upstream_rq_total$`); n == 0 {
		t.Error("the cluster has not got its other name in statistics")
	}
	if a := c.Must(t, other); a.Header.Get("x-route") != "" {
		t.Error("the other host's route has the header")
	}
	if a := m.From(t, "api-0").Must(t, api); a.Code != 200 || a.Header.Get("x-route") != "" {
		t.Errorf("another proxy answers %d, route %q", a.Code, a.Header.Get("x-route"))
	}
}

// TestEnvoyFilterRefused: a patch that only Envoy can find wrong is told with its EnvoyFilter; the proxy keeps what it had, and no other
// is touched.
func TestEnvoyFilterRefused(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	c.Await(t, "an answer", func(a meshtest.Answer) bool { return a.Code == 200 }, api)
	yaml := luaFilter("broken-lua", "api", `function envoy_on_response(h) this is no Lua`)
	out, status := m.Run(t, yaml, "apply", "-f", "-")
	defer m.Run(t, yaml, "delete", "-f", "-")
	if status == 0 || !strings.Contains(out, "Error [MZ0601] (EnvoyFilter default/broken-lua)") || !strings.Contains(out, "proxy api-0.default") {
		t.Errorf("apply ended with %d:\n%s", status, out)
	}
	for _, url := range []string{api, other} {
		if a := c.Must(t, url); a.Code != 200 {
			t.Errorf("%s answers %d", url, a.Code)
		}
	}
}

// TestEnvoyFilterMistake: what is misspelt is refused with its line when it is applied, and does nothing.
func TestEnvoyFilterMistake(t *testing.T) {
	m := shared.Mesh(t)
	out, code := m.Run(t, strings.Replace(luaFilter("typo", "api", ""), "inlineCode", "inline_kode", 1), "apply", "-f", "-")
	if code == 0 || !strings.Contains(out, "inline_code") || !strings.Contains(out, "stdin:19:11:") {
		t.Errorf("apply ended with %d:\n%s", code, out)
	}
}
