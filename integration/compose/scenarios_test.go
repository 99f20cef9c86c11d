package compose

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// version of a service in the chain's answer, "storefront v1 (...) => catalog v2 (...) => ...", or the status if it is no 200.
func version(service string) func(meshtest.Answer) string {
	re := regexp.MustCompile(`(?:^|=> )` + service + ` (v\d+) \(`)
	return func(a meshtest.Answer) string {
		if m := re.FindStringSubmatch(a.Body); a.Code == 200 && m != nil {
			return m[1]
		}
		return fmt.Sprint(a.Code)
	}
}

func code(a meshtest.Answer) string { return fmt.Sprint(a.Code) }

func is(service, v string) func(meshtest.Answer) bool {
	of := version(service)
	return func(a meshtest.Answer) bool { return of(a) == v }
}

// wantShare asserts that count of n is within 5 sigma of share: a right program fails once in 1.7 million runs.
func wantShare(t *testing.T, what string, count, n int, share float64) {
	t.Helper()
	sigma := math.Sqrt(float64(n) * share * (1 - share))
	if d := math.Abs(float64(count) - float64(n)*share); d > 5*sigma {
		t.Errorf("%s: %d of %d, want a share of %.3f within 5 sigma (%.0f)", what, count, n, share, 5*sigma)
	}
}

const catalogSubsets = `
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: catalog}
spec:
  host: catalog
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
`

// catalogTo is a VirtualService of the catalog with this http section, on top of its subsets.
func catalogTo(http string) string {
	return catalogSubsets + `
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: catalog}
spec:
  hosts: [catalog]
  http:
` + http
}

// atGateway is a VirtualService that goes before the shop's own at the gateway, with this http section.
func atGateway(http string) string {
	return `
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: a-first}
spec:
  hosts: [first.example]
  gateways: [shop]
  http:
` + http
}

// first is the host of atGateway's rules.
const first = "Host: first.example"

// Row 2: versions behind one Service share by endpoints, whatever Docker's DNS has answered.
func (s *shop) noRules(t *testing.T) {
	const n = 400
	got := s.client.Tally(t, n, version("catalog"), "/")
	wantShare(t, "v1", got["v1"], n, 0.5)
	if got["v1"]+got["v2"] != n {
		t.Errorf("only v1 and v2 may answer: %v", got)
	}
	if got := s.client.Tally(t, 50, version("pricing"), "/"); got["v1"] != 50 {
		t.Errorf("the rule of the shop keeps pricing v2 dark: %v", got)
	}
}

// Row 3: exact versions, then shares, then back to all.
func (s *shop) weights(t *testing.T) {
	for _, v := range []string{"v2", "v1"} {
		s.edit(t, "weights.yaml", catalogTo("  - route: [{destination: {host: catalog, subset: "+v+"}}]\n"))
		s.client.Await(t, "all to "+v, is("catalog", v), "/")
		if got := s.client.Tally(t, 100, version("catalog"), "/"); got[v] != 100 {
			t.Errorf("all to %s: %v", v, got)
		}
	}
	for _, w := range []int{10, 20, 30, 70} {
		s.edit(t, "weights.yaml", catalogTo(fmt.Sprintf("  - route:\n    - {destination: {host: catalog, subset: v1}, weight: %d}\n    - {destination: {host: catalog, subset: v2}, weight: %d}\n", 100-w, w)))
		const n = 500
		got := s.client.Tally(t, n, version("catalog"), "/")
		wantShare(t, fmt.Sprintf("v2 at %d", w), got["v2"], n, float64(w)/100)
		if got["v1"]+got["v2"] != n {
			t.Errorf("only v1 and v2 may answer: %v", got)
		}
	}
	s.restore(t)
	s.noRules(t)
}

// Row 4: header canaries, two hops behind the client.
func (s *shop) headerCanary(t *testing.T) {
	s.edit(t, "canary.yaml", catalogTo(`
  - match:
    - headers: {baggage-user-agent: {regex: ".*Safari.*"}}
    - headers: {x-dev-user: {exact: jason}}
    route: [{destination: {host: catalog, subset: v2}}]
  - route: [{destination: {host: catalog, subset: v1}}]
`))
	for _, tc := range []struct{ header, want string }{
		{"x-dev-user: jason", "v2"}, {"user-agent: Mozilla/5.0 Safari/605", "v2"},
		{"x-dev-user: jasons", "v1"}, {"user-agent: curl/8", "v1"},
	} {
		if got := s.client.Tally(t, 50, version("catalog"), "/", tc.header); got[tc.want] != 50 {
			t.Errorf("%s: %v, want %s", tc.header, got, tc.want)
		}
	}
}

// Row 5: path precedence and rewriting, at the gateway.
func (s *shop) paths(t *testing.T) {
	s.edit(t, "paths.yaml", atGateway(`
  - match: [{uri: {exact: /exact}}]
    route: [{destination: {host: stock}}]
  - match: [{uri: {prefix: /v2/}}, {uri: {exact: /v2}}]
    rewrite: {uri: /}
    route: [{destination: {host: pricing}}]
  - route: [{destination: {host: catalog}}]
`))
	for _, tc := range []struct{ path, service, seen string }{
		{"/v2/x", "pricing", "/x"}, {"/v2", "pricing", "/"}, {"/exact", "stock", "/exact"}, {"/exactly", "catalog", "/exactly"}, {"/v22", "catalog", "/v22"},
	} {
		a := s.client.Must(t, tc.path, first, "accept: application/json")
		if a.Code != 200 || !strings.HasPrefix(a.Body, `{"service":"`+tc.service+`"`) || !strings.Contains(a.Body, `"path":"`+tc.seen+`"`) {
			t.Errorf("%s: want %s to see %s, got %d %s", tc.path, tc.service, tc.seen, a.Code, a.Body)
		}
	}
}

// Row 6: a missing subset costs its route a 503 and is told with file and line.
func (s *shop) missingSubset(t *testing.T) {
	s.edit(t, "missing.yaml", atGateway(`
  - match: [{uri: {prefix: /broken}}]
    route: [{destination: {host: pricing, subset: v9}}]
  - route: [{destination: {host: pricing, subset: v1}}]
`))
	if got := s.client.Tally(t, 20, code, "/broken", first); got["503"] != 20 {
		t.Errorf("the broken route: %v, want 503", got)
	}
	if got := s.client.Tally(t, 50, code, "/", first); got["200"] != 50 {
		t.Errorf("the other route must go on: %v", got)
	}
	meshtest.Eventually(t, "the diagnostic names file and line", func() bool {
		said := s.logs(t, "controlplane")
		return strings.Contains(said, "IST0101") && strings.Contains(said, "/config/shop/missing.yaml:11:43") && strings.Contains(said, "v9")
	})
}

// Row 7: the mirror gets copies, and its answers are dropped.
func (s *shop) mirror(t *testing.T) {
	s.edit(t, "pricing.yaml", s.original(t, "pricing.yaml")+`    mirror: {host: pricing, subset: v2}
    mirrorPercentage: {value: 100}
`)
	if got := s.client.Tally(t, 50, version("pricing"), "/mirrored"); got["v1"] != 50 {
		t.Errorf("v1 is live: %v", got)
	}
	copied := regexp.MustCompile(`"GET /prices HTTP/1.1" 200 .* inbound\|8080\|\| `)
	meshtest.Eventually(t, "50 copies reach pricing v2", func() bool {
		return len(copied.FindAllString(s.logs(t, "pricing-v2-proxy"), -1)) >= 50
	})
}

// Row 8: faults strike their own route only.
func (s *shop) faults(t *testing.T) {
	s.edit(t, "faults.yaml", catalogTo(`
  - match: [{headers: {x-late: {exact: "yes"}}}]
    fault: {delay: {fixedDelay: 10s, percent: 100}}
    route: [{destination: {host: catalog, subset: v1}}]
  - match: [{headers: {x-broken: {exact: "yes"}}}]
    fault: {abort: {httpStatus: 503, percentage: {value: 20}}}
    route: [{destination: {host: catalog, subset: v1}}]
  - route: [{destination: {host: catalog, subset: v1}}]
`))
	begin := time.Now()
	a := s.client.Must(t, "/", "x-late: yes")
	if took := time.Since(begin); a.Code != 200 || took < 10*time.Second || took > 13*time.Second {
		t.Errorf("delayed: %d after %s, want 200 after 10 s", a.Code, took)
	}
	const n = 400
	got := s.client.Tally(t, n, code, "/", "x-broken: yes")
	wantShare(t, "aborted", got["503"], n, 0.2)
	if got := s.client.Tally(t, 100, code, "/"); got["200"] != 100 {
		t.Errorf("the route without a fault: %v", got)
	}
}

// Row 9: a timeout over a slow upstream, retries over one that fails.
func (s *shop) timeoutAndRetries(t *testing.T) {
	s.edit(t, "timeout.yaml", atGateway(`
  - match: [{uri: {prefix: /slow}}]
    timeout: 2s
    route: [{destination: {host: stock}}]
  - match: [{uri: {prefix: /retried}}]
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: 5xx}
    route: [{destination: {host: stock}}]
  - route: [{destination: {host: stock}}]
`))
	begin := time.Now()
	a := s.client.Must(t, "/slow", first, "slow: 8s")
	if took := time.Since(begin); a.Code != 504 || took < 2*time.Second || took > 5*time.Second {
		t.Errorf("%d after %s, want 504 after 2 s", a.Code, took)
	}
	const n = 400
	wantShare(t, "failures without retryOn", s.client.Tally(t, n, code, "/", first, "fail: 0.3")["500"], n, 0.3)
	wantShare(t, "failures left by three retries", s.client.Tally(t, n, code, "/retried", first, "fail: 0.3")["500"], n, 0.3*0.3*0.3*0.3)
}

// Row 12: both replicas of the catalog let exactly the limit pass together; Redis counts.
func (s *shop) rateLimit(t *testing.T) {
	s.edit(t, "limit.yaml", `
apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: catalog}
spec:
  targetRefs: [{kind: Service, name: catalog}]
  limits:
  - name: per-user
    match: [{headers: {x-user: {}}}]
    key: [{header: x-user}]
    requests: 20
    per: day
    scope: global
---`+atGateway("  - route: [{destination: {host: catalog}}]\n"))
	limited := func(a meshtest.Answer) bool { return strings.HasPrefix(a.Header.Get("x-ratelimit-limit"), "20,") }
	s.client.Await(t, "the limit is in force, in the rate-limit server too", limited, "/", first, "x-user: probe")
	for _, user := range []string{"ann", "ben"} {
		if got := s.client.Tally(t, 60, code, "/", first, "x-user: "+user); got["200"] != 20 || got["429"] != 40 {
			t.Errorf("two replicas together: %v for %s, want 20 of 60", got, user)
		}
	}
	a := s.client.Must(t, "/", first, "x-user: ann")
	if a.Code != 429 || a.Header.Get("retry-after") == "" || a.Header.Get("x-ratelimit-remaining") != "0" {
		t.Errorf("refused with %d %v, want 429 with retry-after", a.Code, a.Header)
	}
	if got := s.client.Tally(t, 50, code, "/", first); got["200"] != 50 {
		t.Errorf("requests without a user are not limited: %v", got)
	}
	if keys := s.exec(t, "redis", "redis-cli", "--scan"); !strings.Contains(keys, "ann") {
		t.Errorf("Redis has no count of ann: %q", keys)
	}
}

// Row 19: lines of Istio's format in `docker compose logs`.
func (s *shop) accessLog(t *testing.T) {
	a := s.client.Must(t, "/logged", "x-request-id: 11111111-1111-4111-8111-111111111111")
	if a.Header.Get("server") != "istio-envoy" || a.Header.Get("x-envoy-upstream-service-time") == "" {
		t.Errorf("headers %v: want server: istio-envoy and x-envoy-upstream-service-time", a.Header)
	}
	const address = `[\d.]+:\d+`
	for _, tc := range []struct{ service, pattern string }{
		{"gateway", `\[20[-\d]+T[:.\d]+Z\] "GET /logged HTTP/1.1" 200 - via_upstream - "-" 0 \d+ \d+ \d+ "[^"]*" "Go-http-client/1.1" "[-0-9a-f]{36}" "localhost:8080" "` +
			address + `" outbound\|8080\|\|storefront.default.svc.cluster.local `},
		{"storefront-v1-proxy", `"GET /logged HTTP/1.1" 200 - via_upstream .* inbound\|8080\|\| `},
		{"storefront-v1-proxy", `"GET /items HTTP/1.1" 200 - via_upstream .* "catalog:8080" "` + address + `" outbound\|8080\|\|catalog.default.svc.cluster.local `},
	} {
		re := regexp.MustCompile(tc.pattern)
		meshtest.Eventually(t, "a line of "+tc.service+": "+tc.pattern, func() bool { return re.MatchString(s.logs(t, tc.service)) })
		if t.Failed() {
			t.Logf("%s wrote:\n%s", tc.service, lastLines(s.logs(t, tc.service), 10))
		}
	}
}

// mutualTLS: sidecars have certificates by their tokens, and speak mutual TLS to each other.
func (s *shop) mutualTLS(t *testing.T) {
	a := s.client.Must(t, "/", "accept: application/json")
	if n := strings.Count(a.Body, "By=spiffe://cluster.local/ns/default/sa/default;"); n < 3 {
		t.Errorf("%d of 4 services were asked with a certificate: %s", n, a.Body)
	}
	if !strings.Contains(a.Body, "URI=spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account") {
		t.Errorf("the storefront does not see the gateway's identity: %s", a.Body)
	}
}
