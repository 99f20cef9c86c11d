// Package telemetry holds what Telemetry and MeshConfig's providers make of access logs and metrics: real Envoys carry the traffic, and
// tests read what they write, serve and send.
package telemetry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

var shared = meshtest.Shared{Manifests: "testdata/shop"}

func TestMain(m *testing.M) { shared.Main(m) }

const api = "http://api:8000/"

// meshConfig is MeshConfig with lines of providers.
func meshConfig(lines string) string {
	return `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
` + lines
}

// telemetry is a Telemetry with a spec, in flow style.
func telemetry(name, namespace, spec string) string {
	return fmt.Sprintf(`
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: %s, namespace: %s}
spec: %s
`, name, namespace, spec)
}

// lines reads what was written to a file so far; none if there is no file.
func lines(path string) []string {
	b, _ := os.ReadFile(path)
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// TestAccessLogFilter: of two requests the filter lets one into the file; the workload's side writes, the client's does not; and a
// namespace's Telemetry switches off what the mesh's has on.
func TestAccessLogFilter(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	log := filepath.Join(t.TempDir(), "access.log")
	m.Apply(t, meshConfig(fmt.Sprintf(`
    extensionProviders:
    - name: mine
      envoyFileAccessLog:
        path: %s
        logFormat: {text: "%%REQ_WITHOUT_QUERY(:PATH)%% %%RESPONSE_CODE%% %%UPSTREAM_CLUSTER_RAW%%"}
`, log)))
	m.Apply(t, telemetry("logs", "istio-system",
		`{accessLogging: [{match: {mode: SERVER}, providers: [{name: mine}], filter: {expression: "request.url_path.startsWith('/odd')"}}]}`))
	n := 0
	await := func(what string, ok func(path string) bool) {
		t.Helper()
		meshtest.Eventually(t, what, func() bool {
			n++
			path := fmt.Sprintf("odd%d", n)
			return c.Must(t, api+"plain").Code == 200 && c.Must(t, api+path+"?q=1").Code == 200 && ok("/"+path)
		})
	}
	await("a line", func(string) bool { return strings.HasPrefix(lines(log)[0], "/odd") })
	for _, l := range lines(log) {
		if f := strings.Fields(l); len(f) != 3 || !strings.HasPrefix(f[0], "/odd") || strings.Contains(f[0], "?") || f[1] != "200" || !strings.HasPrefix(f[2], "inbound|8000|") {
			t.Errorf("line %q", l)
		}
	}
	m.Apply(t, telemetry("quiet", "default", "{accessLogging: [{disabled: true}]}"))
	last, still := len(lines(log)), 0
	await("no more lines", func(string) bool {
		if now := len(lines(log)); now > last {
			last, still = now, 0
		}
		still++
		return still > 20
	})
}
