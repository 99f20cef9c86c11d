package scenarios

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// TestFilterHosts: the rows that Mizzen's policies carry, in proxies that run them as wasm, and in proxies where Envoy's own
// filters stand in for them.
func TestFilterHosts(t *testing.T) {
	meshtest.Envoy(t)
	t.Setenv("MIZZEN_WASM", wasm(t))
	m := meshtest.Start(t, "testdata/hosts", meshtest.Options{Args: []string{"--filters", "native", "--ready-timeout", "3m"}, Patience: 3 * time.Minute}) // an Envoy compiles the wasm module at its start
	for _, host := range []string{"wasm", "native"} {
		t.Run(host, func(t *testing.T) {
			c := m.From(t, host+"-0")
			t.Run("weights", func(t *testing.T) { hostWeights(t, m, c) })
			t.Run("headers and faults", func(t *testing.T) { hostFaults(t, m, c) })
			t.Run("sticky", func(t *testing.T) { hostSticky(t, m, c) })
			t.Run("limit", func(t *testing.T) { hostLimit(t, m, host) })
		})
	}
	t.Run("trace headers", func(t *testing.T) {
		a := m.From(t, "wasm-0").Must(t, reviews, "accept: application/json", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		if !strings.Contains(a.Body, "00-4bf92f3577b34da6a3ce929d0e0e4736-") || !strings.Contains(a.Body, `"x-b3-traceid":["4bf92f3577b34da6a3ce929d0e0e4736"]`) {
			t.Errorf("reviews saw %s", a.Body)
		}
	})
	t.Run("one limit over native proxies", func(t *testing.T) { nativeGlobal(t, m) })
	t.Run("what they cannot", func(t *testing.T) { hostFindings(t, m) })
}

// TestWasmThatCannotStart: the proxy says why it refuses, and has the policies in Envoy's own filters instead.
func TestWasmThatCannotStart(t *testing.T) {
	meshtest.Envoy(t)
	broken := filepath.Join(t.TempDir(), "broken.wasm")
	if err := os.WriteFile(broken, []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MIZZEN_WASM", broken)
	m := meshtest.Start(t, "testdata/hosts", meshtest.Options{Args: []string{"--filters", "native"}})
	c := m.From(t, "wasm-0")
	m.Apply(t, reviewsTo("  - fault: {abort: {httpStatus: 418, percentage: {value: 100}}}\n    route: [{destination: {host: reviews, subset: v1}}]\n"))
	c.Await(t, "the fault, by Envoy's own filter", hasCode(http.StatusTeapot), reviews)
	if page := diagnosticsPage(t, m); !strings.Contains(page, "MZ0603") || !strings.Contains(page, "broken.wasm") {
		t.Errorf("findings %s", page)
	}
}

// wasm is the path of mizzen.wasm, built if need be.
func wasm(t *testing.T) string {
	file := filepath.Join(envoytest.Root(), "build", "mizzen.wasm")
	if err := wasmtest.BuildGo(envoytest.Root(), "./wasm/cmd/mizzen", file); err != nil {
		t.Fatal(err)
	}
	return file
}

func hostWeights(t *testing.T, m *meshtest.Mesh, c *meshtest.Client) {
	m.Apply(t, reviewsTo("  - route:\n    - {destination: {host: reviews, subset: v1}, weight: 80}\n    - {destination: {host: reviews, subset: v2}, weight: 20}\n"))
	c.Await(t, "v2", isVersion("v2"), reviews)
	const n = 600
	c.Await(t, "settled", func(meshtest.Answer) bool { return c.Tally(t, 40, version, reviews)["v2"] < 20 }, reviews)
	got := c.Tally(t, n, version, reviews)
	wantShare(t, "v2", got["v2"], n, 0.2)
	if got["v1"]+got["v2"] != n {
		t.Errorf("only v1 and v2 may answer: %v", got)
	}
}

// hostFaults: a fault of a matched route hits this route alone.
func hostFaults(t *testing.T, m *meshtest.Mesh, c *meshtest.Client) {
	m.Apply(t, reviewsTo(`
  - match: [{headers: {x-dev-user: {exact: jason}}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: reviews, subset: v1}}]
  - match: [{headers: {x-dev-user: {exact: slow}}}, {headers: {x-slow: {exact: "1"}}}]
    fault: {delay: {fixedDelay: 1s, percentage: {value: 100}}}
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
`))
	c.Await(t, "the abort", hasCode(http.StatusTeapot), reviews, "x-dev-user: jason")
	for _, h := range []string{"x-dev-user: slow", "x-slow: 1"} {
		start := time.Now()
		if a := c.Must(t, reviews, h); version(a) != "v2" || time.Since(start) < 990*time.Millisecond { // Envoy reads its clock once for each turn of its loop
			t.Errorf("%s: %d %q after %v, want v2 after a second", h, a.Code, a.Body, time.Since(start))
		}
	}
	if got := c.Tally(t, 60, version, reviews); got["v1"] != 60 {
		t.Errorf("the last route is hit too: %v", got)
	}
	if a := c.Must(t, reviews, "x-mizzen-route: r0.d0"); version(a) != "v1" {
		t.Errorf("a client chose a route: %d %q", a.Code, a.Body)
	}
}

func hostSticky(t *testing.T, m *meshtest.Mesh, c *meshtest.Client) {
	yaml := reviewsTo("  - route:\n    - {destination: {host: reviews, subset: v1}, weight: 50}\n    - {destination: {host: reviews, subset: v2}, weight: 50}\n")
	m.Apply(t, strings.Replace(yaml, "metadata: {name: reviews}\nspec:\n  hosts", `metadata: {name: reviews, annotations: {mizzen.dev/sticky: "header=x-user"}}
spec:
  hosts`, 1))
	steady := func(user int) (side string) {
		got := c.Tally(t, 10, version, reviews, fmt.Sprintf("x-user: u%d", user))
		for v, n := range got {
			if n == 10 {
				side = v
			}
		}
		return side
	}
	c.Await(t, "settled", func(meshtest.Answer) bool { return steady(0) != "" && steady(1) != "" && steady(2) != "" }, reviews)
	sides := map[string]int{}
	for u := range 40 {
		sides[steady(u)]++
	}
	if sides[""] > 0 || sides["v1"] < 5 || sides["v2"] < 5 {
		t.Errorf("sides of 40 users: %v", sides)
	}
}

// hostLimit: inbound, before the workload that runs host.
func hostLimit(t *testing.T, m *meshtest.Mesh, host string) {
	m.Apply(t, `
apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: `+host+`}
spec:
  selector: {matchLabels: {app: `+host+`}}
  limits:
  - {name: per-user, match: [{headers: {x-user: {regex: ".+"}}}], key: [{header: x-user}], requests: 5, per: minute}
`)
	c := m.From(t, "reviews-v1-0")
	url := "http://" + host + ":9080/"
	c.Await(t, "the limit is in force", func(a meshtest.Answer) bool { return strings.HasPrefix(a.Header.Get("x-ratelimit-limit"), "5") }, url, "x-user: probe")
	for _, user := range []string{"ann", "ben"} {
		if got := c.Tally(t, 20, code, url, "x-user: "+user); got["200"] != 5 || got["429"] != 15 {
			t.Errorf("%s: %v, want 5 of 20 to pass", user, got)
		}
	}
	if a := c.Must(t, url); a.Code != 200 || a.Header.Get("x-ratelimit-limit") != "" {
		t.Errorf("without a user: %d, x-ratelimit-limit %q", a.Code, a.Header.Get("x-ratelimit-limit"))
	}
}

// nativeGlobal: two sidecars without Mizzen's filter let exactly the limit pass together, as the rate-limit service counts it. While
// it is away they do what Envoy's own filter can: let all pass, or deny.
func nativeGlobal(t *testing.T, m *meshtest.Mesh) {
	c := m.From(t, "native-0")
	m.Apply(t, reviewsTo("  - route: [{destination: {host: reviews}}]\n")+"---"+strings.Replace(globalLimits(30), "key: [{header: x-user}]", "key: [{query: tenant}, {header: x-user}]", 1))
	c.Await(t, "the limit is in force", func(meshtest.Answer) bool { return c.Tally(t, 12, limitOf, reviews, "x-user: probe")["30"] == 12 }, reviews)
	if got := c.Tally(t, 80, code, reviews, "x-user: ann"); got["200"] != 30 || got["429"] != 50 {
		t.Errorf("two sidecars together: %v, want 30 of 80", got)
	}
	if got := c.Tally(t, 20, version, reviews, "x-user: ben"); got["v1"] == 0 || got["v2"] == 0 || got["v1"]+got["v2"] != 20 {
		t.Errorf("the requests were not spread: %v", got)
	}
	if got := c.Tally(t, 40, code, reviews+"?tenant=ann", "x-user: ann"); got["200"] != 30 {
		t.Errorf("of another tenant: %v, want 30 of 40", got)
	}
	if a := c.Must(t, reviews); a.Code != http.StatusOK || limitOf(a) != "" {
		t.Errorf("without a user: %d, x-ratelimit-limit %q", a.Code, limitOf(a))
	}
	back := withoutLimiter(t, m)
	meshtest.Eventually(t, "a limit that denies does", func() bool { return c.Tally(t, 12, code, "http://reviews:9080/strict")["503"] == 12 })
	if got := c.Tally(t, 40, code, reviews, "x-user: ann"); got["200"] != 40 {
		t.Errorf("while the service is away: %v, want all of 40 to pass", got)
	}
	back()
	meshtest.Eventually(t, "the service is back", func() bool { return c.Tally(t, 12, code, "http://reviews:9080/strict")["200"] == 12 })
}

// hostFindings: what a host cannot do is told with the object and the field, in the control plane's findings and by analyze.
func hostFindings(t *testing.T, m *meshtest.Mesh) {
	yaml := `
apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: odd}
spec:
  selector: {matchLabels: {app: native}}
  limits:
  - {name: session, key: [{cookie: session}], requests: 5, per: minute}
`
	m.Apply(t, yaml)
	for _, want := range []string{"MZ0605", "MZ0606"} {
		meshtest.Eventually(t, "finding "+want, func() bool {
			out, _ := m.Run(t, yaml, "analyze", "-f", "-", "--filters", map[string]string{"MZ0605": "native", "MZ0606": "wasm"}[want])
			return strings.Contains(out, want) && strings.Contains(out, "spec.limits[0]") && strings.Contains(diagnosticsPage(t, m), want)
		})
	}
}

func diagnosticsPage(t *testing.T, m *meshtest.Mesh) string {
	res, err := http.Get(m.Ready.ControlPlane.HTTP + "/debug/diagnostics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
