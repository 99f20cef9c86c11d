package proxyconfig

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

var shared = meshtest.Shared{Manifests: "testdata/shop"}

func TestMain(m *testing.M) { shared.Main(m) }

// meshConfig is a MeshConfig in its ConfigMap.
func meshConfig(text string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

// seen is what the application saw of a request.
type seen struct {
	Path, Host string
	Headers    map[string][]string
}

// header is a header that the application saw; "" if there was none.
func (s seen) header(name string) string { return strings.Join(s.Headers[name], ", ") }

func request(a meshtest.Answer) seen {
	var s seen
	if json.Unmarshal([]byte(a.Body), &s) != nil {
		return seen{}
	}
	return s
}

const asJSON = "accept: application/json"

// The address that a gateway believes to be the client's is the Nth of x-forwarded-for from the right.
func TestTrustedProxies(t *testing.T) {
	m := shared.Mesh(t)
	c := m.ViaGateway()
	for hops, want := range []string{"127.0.0.1", "198.51.100.7", "203.0.113.9"} {
		m.Apply(t, meshConfig(fmt.Sprintf("defaultConfig: {gatewayTopology: {numTrustedProxies: %d}}", hops)))
		a := c.Await(t, fmt.Sprintf("%d trusted proxies", hops), func(a meshtest.Answer) bool {
			return a.Code == 200 && address(request(a)) == want
		}, "/", asJSON, "x-forwarded-for: 192.0.2.1, 203.0.113.9, 198.51.100.7")
		if got := request(a).header("x-forwarded-for"); !strings.HasPrefix(got, "192.0.2.1, 203.0.113.9, 198.51.100.7,") && !strings.HasPrefix(got, "192.0.2.1,203.0.113.9,198.51.100.7,") {
			t.Errorf("the application saw x-forwarded-for %q", got)
		}
	}
}

// address is whom the gateway takes for the client: an address outside is said in a header of its own, one inside is the last.
func address(s seen) string {
	if e := s.header("x-envoy-external-address"); e != "" {
		return e
	}
	all := strings.Split(s.header("x-forwarded-for"), ",")
	return strings.TrimSpace(all[len(all)-1])
}

// proxyHeaders change what proxies add to requests and answers.
func TestProxyHeaders(t *testing.T) {
	m := shared.Mesh(t)
	c := m.ViaGateway()
	before := c.Must(t, "/rewritten", asJSON)
	if got := before.Header.Get("server"); got != "istio-envoy" {
		t.Errorf("server %q", got)
	}
	for _, name := range []string{"x-request-id", "x-envoy-attempt-count"} {
		if request(before).header(name) == "" {
			t.Errorf("by default the application sees no %s", name)
		}
	}
	m.Apply(t, meshConfig(`
defaultConfig:
  proxyHeaders:
    server: {value: the-shop}
    requestId: {disabled: true}
    attemptCount: {disabled: true}
    envoyDebugHeaders: {disabled: true}
    xForwardedHost: {enabled: true}
    xForwardedPort: {enabled: true}`))
	a := c.Await(t, "the mesh's server", func(a meshtest.Answer) bool {
		return a.Header.Get("server") == "the-shop" && request(a).header("x-envoy-attempt-count") == "" && request(a).header("x-request-id") == "" &&
			request(a).header("x-forwarded-host") != ""
	}, "/rewritten", asJSON, "host: www.shop.example")
	s := request(a)
	if s.Host != "shop.example" || s.header("x-forwarded-host") != "www.shop.example" {
		t.Errorf("host %q, before %q", s.Host, s.header("x-forwarded-host"))
	}
	if s.header("x-forwarded-port") == "" {
		t.Errorf("no x-forwarded-port in %v", s.Headers)
	}
	if v := a.Header.Get("x-envoy-upstream-service-time"); v != "" {
		t.Errorf("x-envoy-upstream-service-time %q", v)
	}
}

// Paths are normalised as the mesh says, before any rule looks at them.
func TestPathNormalization(t *testing.T) {
	m := shared.Mesh(t)
	c := m.ViaGateway()
	path := func(want string) func(meshtest.Answer) bool {
		return func(a meshtest.Answer) bool { return request(a).Path == want }
	}
	c.Await(t, "dots are resolved, slashes stay", path("/b//c"), "/a/../b//c", asJSON)
	m.Apply(t, meshConfig("pathNormalization: {normalization: MERGE_SLASHES}"))
	c.Await(t, "slashes are merged", path("/b/c"), "/a/../b//c", asJSON)
	m.Apply(t, meshConfig("pathNormalization: {normalization: NONE}"))
	c.Await(t, "nothing is done", path("/a/../b//c"), "/a/../b//c", asJSON)
}

// Clusters have the names in statistics that the mesh's pattern makes.
func TestStatNames(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, meshConfig(`outboundClusterStatName: "to-%SERVICE%-%SERVICE_PORT_NAME%"`))
	c := m.From(t, "client-0")
	meshtest.Eventually(t, "a request counts under the pattern's name", func() bool {
		a, err := c.Get("http://shop:9080/")
		return err == nil && a.Code == 200 && m.Stat(t, "client-0", `^cluster\.to-shop\.default-http;\.upstream_rq_total$`) > 0
	})
}

// With defaultServiceExportTo "." a service is its own namespace's, unless it says more.
func TestDefaultExports(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "client-0")
	entry := func(annotation string) string {
		return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: elsewhere, namespace: other}
spec:
  hosts: [elsewhere.example]
` + annotation + `
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: 1}}]
---
` + meshConfig("outboundTrafficPolicy: {mode: REGISTRY_ONLY}\ndefaultServiceExportTo: ['.']")
	}
	m.Apply(t, entry(""))
	c.Await(t, "the entry of another namespace is unknown", func(a meshtest.Answer) bool { return a.Code == 502 }, "http://elsewhere.example/")
	m.Apply(t, entry("  exportTo: ['*']"))
	c.Await(t, "an entry that says so is known", func(a meshtest.Answer) bool { return a.Code == 503 }, "http://elsewhere.example/")
}
