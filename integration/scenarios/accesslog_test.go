package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Row 19: lines of Istio's format, and what the canary and the faults did in two more columns (docs/access-log.md).
func TestAccessLog(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	log := filepath.Join(t.TempDir(), "access.log")
	m.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "accessLogFile: %s"}
---`, log)+reviewsTo(`
  - name: aborted
    match: [{headers: {x-dev-user: {exact: jason}}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: reviews, subset: v1}}]
  - name: shared
    route:
    - {destination: {host: reviews, subset: v1}, weight: 100}
    - {destination: {host: reviews, subset: v2}, weight: 0}
`))
	a := c.Await(t, "the rule", isVersion("v1"), reviews+"logged", "x-request-id: 11111111-1111-4111-8111-111111111111")
	if a.Header.Get("server") != "istio-envoy" || a.Header.Get("x-envoy-upstream-service-time") == "" {
		t.Errorf("headers %v: want server: istio-envoy and x-envoy-upstream-service-time", a.Header)
	}
	c.Await(t, "the abort", hasCode(555), reviews+"aborted", "x-dev-user: jason")
	// A connection may still have the listener from before, which logs nothing: each is tried until it is logged.
	again := map[string]func(){
		"outbound": func() {
			c.Must(t, reviews+"logged", "x-request-id: 11111111-1111-4111-8111-111111111111", "connection: close")
		},
		"abort": func() { c.Must(t, reviews+"aborted", "x-dev-user: jason", "connection: close") },
		"TCP":   func() { checkTCP(t, redis(t, m)) },
	}
	again["inbound"] = again["outbound"]
	const address = `[\d.]+:\d+`
	for what, pattern := range map[string]string{
		"outbound": `\[20[-\d]+T[:.\d]+Z\] "GET /logged HTTP/1.1" 200 - via_upstream - "-" 0 \d+ \d+ \d+ "[^"]*" "Go-http-client/1.1" ` +
			`"[-0-9a-f]{36}" "reviews:9080" "` + address + `" outbound\|9080\|v1\|reviews.default.svc.cluster.local ` +
			address + ` ` + address + ` ` + address + ` - shared "shared/v1" ""`,
		"inbound": `.* "GET /logged HTTP/1.1" 200 - via_upstream .* "reviews:9080" "` + address + `" inbound\|9080\|\| .* default "-" ""`,
		"abort":   `.* "GET /aborted HTTP/1.1" 555 - mizzen_fault_abort .* "aborted/v1" "FI"`,
		"TCP":     `.* "- - -" 0 - - - "-" 14 14 .* outbound\|6379\|\|redis.default.svc.cluster.local .* "-" ""`,
	} {
		re := regexp.MustCompile(`(?m)^` + pattern + `$`)
		text := ""
		meshtest.Eventually(t, "a line for "+what+", "+pattern, func() bool {
			again[what]()
			b, err := os.ReadFile(log)
			text = string(b)
			return err == nil && re.MatchString(text)
		})
		if t.Failed() {
			t.Logf("the log has:\n%s", strings.TrimSpace(text))
		}
	}
}
