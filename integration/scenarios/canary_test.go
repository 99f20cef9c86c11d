package scenarios

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// A roll-out by the clock: nobody pushes anything, users move to v2 only, and in the end all are there.
func TestCanarySteps(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	start := time.Now().Add(8 * time.Second).Truncate(time.Second)
	m.Apply(t, reviewsSubsets+`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
  annotations:
    mizzen.dev/sticky: header=x-user
    mizzen.dev/steps: "v2: `+start.UTC().Format(time.RFC3339)+` 20%, +3s 60%, +3s 100%"
spec:
  hosts: [reviews]
  http:
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 100}
    - {destination: {host: reviews, subset: v2}, weight: 0}
`)
	c.Await(t, "v1 before the first step", isVersion("v1"), reviews, "x-user: settled")
	const users = 40
	moved := map[int]bool{}
	for round := 0; len(moved) < users; round++ {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d of %d users are on v2 long after the last step", len(moved), users)
		}
		for u := range users {
			before := time.Now()
			v := version(c.Must(t, reviews, fmt.Sprintf("x-user: u%d", u)))
			switch {
			case v == "v2" && time.Now().Before(start):
				t.Fatalf("user %d is on v2 %v before the first step", u, start.Sub(before))
			case v == "v1" && moved[u] && before.After(start):
				t.Fatalf("user %d went back to v1", u)
			case v == "v2":
				moved[u] = true
			case v != "v1":
				// The rule has just come: without it every third answer is v3.
				if round > 0 {
					t.Fatalf("user %d got %q", u, v)
				}
			}
		}
	}
	if got := c.Tally(t, 100, version, reviews); got["v2"] != 100 {
		t.Errorf("after the last step: %v", got)
	}
}

const lanes = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, annotations: {mizzen.dev/lane: start}}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - route:
    - {destination: {host: front, subset: v1, port: {number: 8080}}, weight: 70}
    - {destination: {host: front, subset: v2, port: {number: 8080}}, weight: 30}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: middle, annotations: {mizzen.dev/lane: follow}}
spec:
  hosts: [middle]
  http:
  - route:
    - {destination: {host: middle, subset: v1}, weight: 100}
    - {destination: {host: middle, subset: v2}, weight: 0}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: back, annotations: {mizzen.dev/lane: follow}}
spec:
  hosts: [back]
  http:
  - route:
    - {destination: {host: back, subset: v1}, weight: 50}
    - {destination: {host: back, subset: v2}, weight: 50}
`

var chainPattern = regexp.MustCompile(`^front (v\d) .* => middle (v\d) .* => back (v\d) `)

// chainVersions is "v1 v1 v1" for a request that met v1 at all three hops.
func chainVersions(a meshtest.Answer) string {
	if s := chainPattern.FindStringSubmatch(a.Body); a.Code == 200 && s != nil {
		return strings.Join(s[1:], " ")
	}
	return fmt.Sprintf("%d %s", a.Code, a.Body)
}

// The decision at the edge is the whole chain's, and a client cannot make it.
func TestCanaryLane(t *testing.T) {
	m := meshtest.Start(t, "testdata/chain", meshtest.Options{})
	m.Apply(t, lanes)
	c := m.ViaGateway()
	c.Await(t, "the way in", hasCode(200), "/")
	c.Await(t, "settled", func(meshtest.Answer) bool {
		got := c.Tally(t, 60, chainVersions, "/")
		return got["v1 v1 v1"]+got["v2 v2 v2"] == 60
	}, "/")
	const n = 600
	for _, headers := range [][]string{nil, {"baggage: mizzen-lane=v2"}} {
		got := c.Tally(t, n, chainVersions, "/", headers...)
		if len(got) != 2 {
			t.Errorf("with %q chains are mixed: %v", headers, got)
		}
		wantShare(t, fmt.Sprintf("v2 with %q", headers), got["v2 v2 v2"], n, 0.3)
	}
	inner := m.From(t, "front-v1-0")
	if got := inner.Tally(t, 50, version, "http://middle:8080/"); got["v1"] != 50 {
		t.Errorf("outside a lane the weights hold: %v", got)
	}
	if got := inner.Tally(t, 50, version, "http://middle:8080/", "baggage: mizzen-lane=v2"); got["v2"] != 50 {
		t.Errorf("in a lane it leads, also to weight 0: %v", got)
	}
}

// A mirror is its rule's: requests of other rules are not copied, and of this one the percentage is, from every side.
func TestMirrorOfOneRule(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	m.Apply(t, reviewsTo(`
  - match: [{headers: {x-dev-user: {regex: ".+"}}}]
    route: [{destination: {host: reviews, subset: v1}}]
  - match: [{headers: {x-tester: {exact: "1"}}}]
    route:
    - {destination: {host: reviews, subset: v1}, weight: 50}
    - {destination: {host: reviews, subset: v2}, weight: 50}
    mirrors:
    - {destination: {host: reviews, subset: v3}, percentage: {value: 25}}
    - {destination: {host: ratings}, percentage: {value: 0.01}}
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 50}
    - {destination: {host: reviews, subset: v2}, weight: 50}
`))
	settled := func(a meshtest.Answer) bool {
		got := c.Tally(t, 60, version, reviews)
		return got["v1"]+got["v2"] == 60
	}
	c.Await(t, "v1 and v2 only", settled, reviews)
	const inbound = `^http\.inbound.*downstream_rq_2xx$`
	before, n := m.Stat(t, "reviews-v3-0", inbound), 1000
	if got := c.Tally(t, n, version, reviews); got["v1"]+got["v2"] != n {
		t.Errorf("live answers: %v", got)
	}
	if copies := m.Stat(t, "reviews-v3-0", inbound) - before; copies != 0 {
		t.Errorf("%d copies of requests that another rule took", copies)
	}
	got := c.Tally(t, n, version, reviews, "x-tester: 1")
	wantShare(t, "live answers from v2", got["v2"], n, 0.5)
	copies := 0
	meshtest.Eventually(t, "copies have come and no more do", func() bool {
		last := copies
		copies = m.Stat(t, "reviews-v3-0", inbound) - before
		return copies > 0 && copies == last
	})
	wantShare(t, "copies", copies, n, 0.25)
	if dump := string(m.Admin(t, "productpage-v1-0", "/config_dump?resource=dynamic_route_configs")); !regexp.MustCompile(`"numerator": 100,\s*"denominator": "MILLION"`).MatchString(dump) {
		t.Error("no mirror of 0.01 % in the proxy's routes")
	}
}

// What Flagger and Argo ask Prometheus: the success rate of one side of one rule.
func TestCanaryCounters(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	m.Apply(t, reviewsTo(`
  - name: counted
    route:
    - {destination: {host: reviews, subset: v1}, weight: 50}
    - {destination: {host: reviews, subset: v2}, weight: 50}
`))
	c.Await(t, "settled", func(meshtest.Answer) bool {
		got := c.Tally(t, 60, version, reviews)
		return got["v1"]+got["v2"] == 60
	}, reviews)
	count := func(side, class string) int {
		n := 0
		pattern := regexp.MustCompile(`(?m)^envoy_mizzen_canary_responses_total\{([^}]*)\} (\d+)$`)
		for _, s := range pattern.FindAllStringSubmatch(string(m.Admin(t, "productpage-v1-0", "/stats/prometheus")), -1) {
			if strings.Contains(s[1], `rule="counted"`) && strings.Contains(s[1], `destination="`+side+`"`) && strings.Contains(s[1], `class="`+class+`"`) {
				v := 0
				fmt.Sscan(s[2], &v)
				n += v
			}
		}
		return n
	}
	good, bad := count("v2", "2xx"), count("v2", "5xx")
	ok := c.Tally(t, 200, version, reviews)["v2"]
	failed := c.Tally(t, 200, code, reviews, "fail: 1")["500"]
	if failed != 200 {
		t.Fatalf("%d of 200 requests failed as they were told to", failed)
	}
	meshtest.Eventually(t, "every good answer of v2 is counted", func() bool { return count("v2", "2xx")-good == ok })
	errors := count("v2", "5xx") - bad
	wantShare(t, "errors of v2", errors, failed, 0.5)
	if other := count("v1", "5xx"); other < failed-errors {
		t.Errorf("%d errors, of which v2 had %d and v1 %d", failed, errors, other)
	}
}
