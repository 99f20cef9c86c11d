package cluster

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

const subsets = `
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: recommendation, namespace: shop}
spec:
  host: recommendation
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
`

// routes is a VirtualService of the recommendation.
func routes(http string) string {
	return "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: recommendation, namespace: shop}\nspec:\n  hosts: [recommendation]\n  http:\n" + http
}

// within says whether got is a share of all within 4.5 sigma.
func within(got, all int, share float64) bool {
	mean := float64(all) * share
	return math.Abs(float64(got)-mean) <= 4.5*math.Sqrt(mean*(1-share))+0.5
}

// settles waits until an answer through the gateway has the mark, so that what was applied is in force.
func settles(t *testing.T, n *node, mark string, headers ...string) {
	t.Helper()
	gateway := n.gateway(t)
	await(t, "answers have "+mark, func() string {
		return fmt.Sprint(n.shares(t, 10, "http://"+gateway+"/customer", headers, mark)[mark])
	}, func(s string) bool { return s == "10" })
}

func customer(t *testing.T, n *node) string { return "http://" + n.gateway(t) + "/customer" }

const (
	v1 = "recommendation v1"
	v2 = "recommendation v2"
)

// testGraph: mizzen graph shows who calls whom.
func testGraph(t *testing.T, n *node) {
	stop := n.load(t, n.gateway(t))
	for _, edge := range []string{`istio-ingressgateway \S+ +customer v1`, `customer v1 +preference v1`, `preference v1 +recommendation v2`} {
		await(t, "an edge "+edge, func() string { return n.mizzen(t, "graph", "--kubeconfig", n.admin()) },
			regexp.MustCompile(`(?m)^`+edge+` +http +[1-9]\d*\.\d/s +0\.0% +mTLS +[1-9]\d* +0 +\d`).MatchString)
	}
	unharmed(t, stop)
}

// testTurns: scenario 2.
func testTurns(t *testing.T, n *node) {
	if got := n.shares(t, 200, customer(t, n), nil, v1, v2); !within(got[v1], 200, 0.5) || got[v1]+got[v2] != 200 {
		t.Errorf("without rules, of 200: %v", got)
	}
	n.kubectl(t, "scale", "-n", "shop", "deploy/recommendation-v2", "--replicas", "2")
	n.rolled(t, "shop", "deploy/recommendation-v2")
	pods := func() string {
		return fmt.Sprint(len(n.shares(t, 30, customer(t, n), nil, strings.Fields(n.kubectl(t, "get", "pods", "-n", "shop", "-l", "app=recommendation", "-o", "jsonpath={.items[*].metadata.name}"))...)))
	}
	await(t, "all three answer", pods, func(s string) bool { return s == "3" })
	if got := n.shares(t, 300, customer(t, n), nil, v1, v2); !within(got[v1], 300, 1.0/3) || got[v1]+got[v2] != 300 {
		t.Errorf("one of v1 and two of v2, of 300: %v", got)
	}
	n.kubectl(t, "scale", "-n", "shop", "deploy/recommendation-v2", "--replicas", "1")
	n.rolled(t, "shop", "deploy/recommendation-v2")
	ready(t, n, "shop", 2)
}

// testWeights: scenario 3.
func testWeights(t *testing.T, n *node) {
	n.apply(t, subsets)
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v2}}]\n"))
	settles(t, n, v2)
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v1}}]\n"))
	settles(t, n, v1)
	if got := n.shares(t, 100, customer(t, n), nil, v1); got[v1] != 100 {
		t.Errorf("everything to v1, of 100: %v", got)
	}
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v1}, weight: 90}, {destination: {host: recommendation, subset: v2}, weight: 10}]\n"))
	await(t, "v2 has some", func() string { return fmt.Sprint(n.shares(t, 40, customer(t, n), nil, v2)[v2]) }, func(s string) bool { return s != "0" })
	if got := n.shares(t, 600, customer(t, n), nil, v1, v2); !within(got[v2], 600, 0.1) || got[v1]+got[v2] != 600 {
		t.Errorf("90/10, of 600: %v", got)
	}
}

// testBack: the rest of scenario 3: without the rule it is by turns again.
func testBack(t *testing.T, n *node) {
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v1}}]\n"))
	settles(t, n, v1)
	n.remove(t, routes("  - route: [{destination: {host: recommendation}}]\n"))
	await(t, "v2 answers again", func() string { return fmt.Sprint(n.shares(t, 40, customer(t, n), nil, v2)[v2]) }, func(s string) bool { return s != "0" })
	if got := n.shares(t, 200, customer(t, n), nil, v1, v2); !within(got[v1], 200, 0.5) || got[v1]+got[v2] != 200 {
		t.Errorf("after the rule, of 200: %v", got)
	}
}

// testHeader: scenario 4.
func testHeader(t *testing.T, n *node) {
	n.apply(t, routes(`  - match: [{headers: {baggage-user-agent: {regex: ".*Safari.*"}}}]
    route: [{destination: {host: recommendation, subset: v2}}]
  - route: [{destination: {host: recommendation, subset: v1}}]
`))
	settles(t, n, v2, "user-agent: Safari/605")
	if got := n.shares(t, 50, customer(t, n), nil, v1); got[v1] != 50 {
		t.Errorf("without the header, of 50: %v", got)
	}
}

// testPaths: scenario 5.
func testPaths(t *testing.T, n *node) {
	n.apply(t, routes(`  - match: [{uri: {prefix: /v2}}]
    rewrite: {uri: /}
    route: [{destination: {host: recommendation, subset: v2}}]
  - route: [{destination: {host: recommendation, subset: v1}}]
`))
	ask := func(path string) string { return n.curl(t, "shop", "http://recommendation:8080"+path) }
	await(t, "/v2 leads to v2", func() string { return ask("/v2") }, func(s string) bool { return strings.HasPrefix(s, v2) })
	if got := ask("/"); !strings.HasPrefix(got, v1) {
		t.Errorf("/ leads to %s", got)
	}
}

// testFault: scenario 8.
func testFault(t *testing.T, n *node) {
	n.apply(t, routes(`  - fault: {delay: {percentage: {value: 100}, fixedDelay: 3s}}
    match: [{headers: {x-slow: {exact: "yes"}}}]
    route: [{destination: {host: recommendation}}]
  - fault: {abort: {percentage: {value: 20}, httpStatus: 503}}
    retries: {attempts: 0}
    route: [{destination: {host: recommendation}}]
`))
	codes := func() map[string]int {
		out := n.curl(t, "shop", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}\\n", "http://recommendation:8080/?n=[1-300]")
		return map[string]int{"200": strings.Count(out, "200"), "503": strings.Count(out, "503")}
	}
	await(t, "faults are in force", func() string { return fmt.Sprint(codes()["503"] > 0) }, func(s string) bool { return s == "true" })
	if got := codes(); !within(got["503"], 300, 0.2) || got["200"]+got["503"] != 300 {
		t.Errorf("abort 20 %%, of 300: %v", got)
	}
	took := n.curl(t, "shop", "-o", "/dev/null", "-w", "%{time_total}", "-H", "x-slow: yes", "http://recommendation:8080/")
	var seconds float64
	if _, err := fmt.Sscan(took, &seconds); err != nil || seconds < 3 || seconds > 6 {
		t.Errorf("a delay of 3 s took %s", took)
	}
	n.remove(t, routes("  - route: [{destination: {host: recommendation}}]\n"))
}

// testAccessLog: scenario 19.
func testAccessLog(t *testing.T, n *node) {
	headers := n.curl(t, "outside", "-i", customer(t, n))
	for _, want := range []string{"server: istio-envoy", "x-envoy-upstream-service-time: "} {
		if !strings.Contains(headers, want) {
			t.Errorf("no %q in the answer:\n%s", want, headers)
		}
	}
	line := regexp.MustCompile(`"GET /customer HTTP/1\.1" 200 - via_upstream - "-" 0 \d+ \d+ \d+ ".*outbound\|8080\|\|preference\.shop\.svc\.cluster\.local`)
	await(t, "the access log has the request", func() string {
		return n.kubectl(t, "logs", "-n", "shop", "deploy/customer-v1", "-c", "istio-proxy", "--tail", "20")
	}, line.MatchString)
}
