package cluster

import (
	_ "embed"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/apps.yaml
var apps string

const (
	subsets = `
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: recommendation, namespace: shop}
spec:
  host: recommendation
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
`
	entrance = `
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: shop, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: customer, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [shop]
  http:
  - match: [{uri: {prefix: /customer}}]
    rewrite: {uri: /}
    route: [{destination: {host: customer}}]
`
)

// egress leads requests for the host outside through the egress gateway, as Istio's documentation does.
const egress = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: shop}
spec:
  selector: {istio: egressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [web.outside.svc.outside]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: egress, namespace: shop}
spec:
  hosts: [web.outside.svc.outside]
  gateways: [mesh, egress]
  http:
  - match: [{gateways: [mesh], port: 8080}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [egress], port: 80}]
    route: [{destination: {host: web.outside.svc.outside, port: {number: 8080}}}]
`

// routes is a VirtualService of the recommendation.
func routes(http string) string {
	return "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: recommendation, namespace: shop}\nspec:\n  hosts: [recommendation]\n  http:\n" + http
}

// TestCluster goes through the life of an installation, in this order. A step that all others need ends the test.
func TestCluster(t *testing.T) {
	n := start(t)
	n.before = n.everything(t)
	for _, step := range []struct {
		name  string
		vital bool
		run   func(*testing.T, *node)
	}{
		{"page", false, testPage},
		{"install", true, testInstall},
		{"chain", true, testChain},
		{"gateway", true, testGateway},
		{"by turns", false, testTurns},
		{"subsets and weights", false, testWeights},
		{"rules deleted", false, testBack},
		{"header canary", false, testHeader},
		{"paths", false, testPaths},
		{"fault", false, testFault},
		{"egress", false, testEgress},
		{"egress gateway", false, testEgressGateway},
		{"mutual TLS", false, testMutualTLS},
		{"access log", false, testAccessLog},
		{"mistakes", false, testMistakes},
		{"control plane away", false, testControlPlaneAway},
		{"rolling restarts", false, testRestarts},
		{"classic order", false, testClassic},
		{"revision", false, testRevision},
		{"uninstall", false, testUninstall},
	} {
		begin := time.Now()
		ok := t.Run(step.name, func(t *testing.T) { step.run(t, n) })
		t.Logf("%s: %.0f s", step.name, time.Since(begin).Seconds())
		if !ok && step.vital {
			t.Log(n.kubectl(t, "get", "pods", "-A"))
			return
		}
	}
}

// testInstall: the namespace enforces pod security standard "restricted", so that whatever would break it does not come up.
func testInstall(t *testing.T, n *node) {
	n.apply(t, `{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {pod-security.kubernetes.io/enforce: restricted}}}`)
	out := n.install(t)
	for _, want := range []string{"CustomResourceDefinitions applied", "release mizzen ", "deployment istio-ingressgateway is available", "kubectl label namespace default istio-injection=enabled"} {
		if !strings.Contains(out, want) {
			t.Errorf("mizzen install does not say %q:\n%s", want, out)
		}
	}
}

// testChain: scenario 1. Pods of a labelled namespace have a sidecar, a native one; others have none.
func testChain(t *testing.T, n *node) {
	n.apply(t, apps)
	n.rolled(t, "shop")
	n.rolled(t, "outside")
	ready(t, n, "shop", 2)
	ready(t, n, "outside", 1)
	if got := n.kubectl(t, "get", "pods", "-n", "shop", "-l", "app=customer", "-o", "jsonpath={.items[0].spec.initContainers[?(@.name=='istio-proxy')].restartPolicy}"); got != "Always" {
		t.Errorf("the sidecar is no native one: restartPolicy %q", got)
	}
	for label, want := range map[string]string{"": "istio-proxy", `labels: {sidecar.istio.io/inject: "false"}`: "", `annotations: {sidecar.istio.io/inject: "false"}`: ""} {
		pod := "{apiVersion: v1, kind: Pod, metadata: {name: a, " + label + "}, spec: {containers: [{name: app, image: app}]}}"
		got := n.run(t, pod, "scripts/node", "kubectl", "create", "-n", "shop", "--dry-run=server", "-o", "jsonpath={.spec.initContainers[?(@.name=='istio-proxy')].name}", "-f", "-")
		if got != want {
			t.Errorf("a pod with %q has sidecar %q", label, got)
		}
	}
	answer := n.curl(t, "shop", "http://customer:8080/")
	if !regexp.MustCompile(`^customer v1 \(.*\) => preference v1 \(.*\) => recommendation v[12] \(.*\)\s*$`).MatchString(answer) {
		t.Errorf("http://customer:8080/ from a pod in the mesh: %s", answer)
	}
}

// ready checks what `kubectl get pods` shows.
func ready(t *testing.T, n *node, namespace string, containers int) {
	t.Helper()
	want := fmt.Sprintf("%d/%d", containers, containers)
	await(t, "pods of "+namespace+" are "+want, func() string { return n.kubectl(t, "get", "pods", "-n", namespace, "--no-headers") }, func(list string) bool {
		for line := range strings.Lines(list) {
			if f := strings.Fields(line); len(f) < 3 || f[1] != want || f[2] != "Running" {
				return false
			}
		}
		return list != ""
	})
}

// unstarted checks that no container of the shop was started again, which is what a liveness probe that fails comes to.
func unstarted(t *testing.T, n *node) {
	t.Helper()
	if got := n.kubectl(t, "get", "pods", "-n", "shop", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"); strings.Trim(got, "0 ") != "" {
		t.Errorf("containers of the shop were started again: %s", got)
	}
}

// testGateway: scenario 13.
func testGateway(t *testing.T, n *node) {
	gateway := n.gateway(t)
	if got := n.curl(t, "outside", "http://"+gateway+"/customer"); !strings.Contains(got, "curl: (7)") {
		t.Errorf("without a Gateway nothing should answer: %s", got)
	}
	n.apply(t, strings.ReplaceAll(entrance, `hosts: ["*"]`, `hosts: [shop.example]`))
	status := func(host, path string) string {
		return n.curl(t, "outside", "-o", "/dev/null", "-w", "%{http_code}", "-H", "host: "+host, "http://"+gateway+path)
	}
	await(t, "the gateway answers for its host", func() string { return status("shop.example", "/customer") }, func(s string) bool { return s == "200" })
	if got := status("other.example", "/customer"); got != "404" {
		t.Errorf("another host: %s", got)
	}
	n.apply(t, entrance)
	await(t, "the gateway answers", func() string { return n.curl(t, "outside", "http://"+gateway+"/customer") }, func(s string) bool { return strings.HasPrefix(s, "customer v1") })
	if got := n.curl(t, "outside", "-o", "/dev/null", "-w", "%{http_code}", "http://"+gateway+"/other"); got != "404" {
		t.Errorf("a path without a route: %s", got)
	}
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

// testEgress: scenario 14, over HTTP.
func testEgress(t *testing.T, n *node) {
	const url = "http://web.outside.svc.outside:8080/"
	ask := func() string { return n.curl(t, "shop", "-w", " %{http_code}", url) }
	if got := ask(); !strings.HasPrefix(got, "web v1") {
		t.Errorf("ALLOW_ANY: %s", got)
	}
	n.install(t, "--set", "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY")
	await(t, "a host outside is blocked", ask, func(s string) bool { return strings.HasSuffix(s, " 502") })
	n.apply(t, `
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.outside.svc.outside]
  ports: [{number: 8080, name: http, protocol: HTTP}]
  resolution: DNS
`)
	await(t, "a ServiceEntry lets it through", ask, func(s string) bool { return strings.HasPrefix(s, "web v1") })
	n.install(t)
}

// testEgressGateway: scenario 14's other half: the mesh's requests for a host outside leave through the egress gateway.
func testEgressGateway(t *testing.T, n *node) {
	n.apply(t, egress)
	log := func() string {
		n.curl(t, "shop", "http://web.outside.svc.outside:8080/by-the-egress-gateway")
		return n.kubectl(t, "logs", "-n", "istio-system", "deploy/istio-egressgateway", "-c", "istio-proxy", "--tail", "20")
	}
	await(t, "the egress gateway's log has the request", log, func(s string) bool {
		return strings.Contains(s, "/by-the-egress-gateway") && strings.Contains(s, `" 200 `)
	})
	n.remove(t, egress)
}

// testMutualTLS: scenario 15, and the kubelet's probes.
func testMutualTLS(t *testing.T, n *node) {
	const url = "http://recommendation.shop.svc.cluster.local:8080/"
	if got := n.curl(t, "outside", url); !strings.HasPrefix(got, "recommendation") {
		t.Errorf("PERMISSIVE takes plaintext: %s", got)
	}
	n.apply(t, `{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: istio-system}, spec: {mtls: {mode: STRICT}}}`)
	await(t, "STRICT refuses plaintext", func() string { return n.curl(t, "outside", url) }, func(s string) bool { return strings.Contains(s, "curl: (56)") || strings.Contains(s, "curl: (52)") })
	if got := n.curl(t, "shop", "http://customer:8080/"); !strings.Contains(got, "=> recommendation") {
		t.Errorf("the chain under STRICT: %s", got)
	}
	if got := n.curl(t, "outside", customer(t, n)); !strings.Contains(got, "=> recommendation") {
		t.Errorf("through the gateway under STRICT: %s", got)
	}
	const identity = "URI=spiffe://cluster.local/ns/shop/sa/default"
	if got := n.curl(t, "shop", "-H", "accept: application/json", "http://recommendation:8080/"); !strings.Contains(got, identity) {
		t.Errorf("the recommendation is not told that its caller is %s: %s", identity, got)
	}
	n.kubectl(t, "rollout", "restart", "-n", "shop", "deploy/recommendation-v1", "deploy/customer-v1") // new pods become ready: their probes pass, by HTTP and by TCP
	n.rolled(t, "shop", "deploy/recommendation-v1", "deploy/customer-v1")
	ready(t, n, "shop", 2)
	unstarted(t, n)
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

// testMistakes: scenario 24, once the webhook has closed. kubectl is refused, or warned, and what was in force stays.
func testMistakes(t *testing.T, n *node) {
	await(t, "the validating webhook closes", func() string {
		return n.kubectl(t, "get", "validatingwebhookconfiguration", "mizzen-validator", "-o", "jsonpath={.webhooks[0].failurePolicy}")
	}, func(s string) bool { return s == "Fail" })
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v1}}]\n"))
	settles(t, n, v1)
	for what, tt := range map[string]struct {
		yaml, want string
		refused    bool
	}{
		"wrong value":      {routes("  - route: [{destination: {host: recommendation}, weight: -1}]\n"), "(VirtualService shop/recommendation) spec.http[0].route[0].weight: must not be negative", true},
		"unknown field":    {routes("  - rout: [{destination: {host: recommendation}}]\n"), `unknown field "spec.http[0].rout"`, true},
		"wrong enum":       {strings.Replace(subsets, "  subsets:", "  trafficPolicy: {loadBalancer: {simple: ROUND_ROBINN}}\n  subsets:", 1), "ROUND_ROBIN", true},
		"missing host":     {routes("  - route: [{destination: {host: recomendation}}]\n"), "write recommendation", false},
		"missing subset":   {routes("  - route: [{destination: {host: recommendation, subset: v9}}]\n"), "spec.http[0].route[0].destination.subset", false},
		"unreachable rule": {routes("  - route: [{destination: {host: recommendation}}]\n  - match: [{uri: {prefix: /a}}]\n    route: [{destination: {host: recommendation}}]\n"), "IST0130", false},
	} {
		out, err := n.try(t, tt.yaml, "bash", "-c", "scripts/node kubectl apply --dry-run=server -f - 2>&1")
		if (err != nil) != tt.refused || !strings.Contains(out, tt.want) {
			t.Errorf("%s: want %q (refused: %v): %v\n%s", what, tt.want, tt.refused, err, out)
		}
		if !tt.refused {
			continue
		}
		if out, err := n.try(t, tt.yaml, "scripts/node", "kubectl", "apply", "-f", "-"); err == nil {
			t.Errorf("%s: is let in: %s", what, out)
		}
	}
	if got := n.shares(t, 20, customer(t, n), nil, v1); got[v1] != 20 {
		t.Errorf("after what was refused the last good state should be in force: of 20 to v1: %v", got)
	}
	n.remove(t, routes("  - route: [{destination: {host: recommendation}}]\n"))
	await(t, "without the rule v2 answers", func() string { return fmt.Sprint(n.shares(t, 40, customer(t, n), nil, v2)[v2]) }, func(s string) bool { return s != "0" })
}

// testControlPlaneAway: scenario 23.
func testControlPlaneAway(t *testing.T, n *node) {
	status := func() string {
		return n.mizzen(t, "proxy-status", "--kubeconfig", filepath.Join(n.folder, "conf", "admin.kubeconfig"))
	}
	proxies := strings.Count(status(), "\n") - 1
	stop := n.load(t, n.gateway(t))
	n.kubectl(t, "scale", "-n", "istio-system", "deploy/mizzen-controlplane", "--replicas", "0")
	await(t, "the control plane is gone", func() string {
		return n.kubectl(t, "get", "pods", "-n", "istio-system", "-l", "app=mizzen-controlplane", "--no-headers")
	}, func(s string) bool { return s == "" })
	time.Sleep(5 * time.Second) // of traffic without it
	n.kubectl(t, "scale", "-n", "istio-system", "deploy/mizzen-controlplane", "--replicas", "2")
	n.rolled(t, "istio-system", "deploy/mizzen-controlplane")
	await(t, fmt.Sprintf("%d proxies have come back", proxies), status, func(s string) bool {
		return strings.Count(s, "\n") == proxies+1 && !strings.Contains(s, "STALE") && !strings.Contains(s, "ERROR")
	})
	replicas := strings.Fields(n.kubectl(t, "get", "pods", "-n", "istio-system", "-l", "app=mizzen-controlplane", "-o", "jsonpath={.items[*].metadata.name}"))
	for _, pod := range replicas { // endpoints do change: the control plane's own
		metrics := n.kubectl(t, "get", "--raw", "/api/v1/namespaces/istio-system/pods/"+pod+":15014/proxy/metrics")
		for _, kind := range []string{"cds", "lds", "rds", "vhds"} {
			if pushed := regexp.MustCompile(`(?m)^pilot_xds_pushes\{[^}]*type="` + kind + `"[^}]*\} [1-9].*$`).FindString(metrics); pushed != "" {
				t.Errorf("replica %s pushed what the proxies had: %s", pod, pushed)
			}
		}
	}
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v2}}]\n")) // both replicas serve
	settles(t, n, v2)
	n.kubectl(t, "delete", "pod", "-n", "istio-system", replicas[0])
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v1}}]\n"))
	settles(t, n, v1)
	n.remove(t, routes("  - route: [{destination: {host: recommendation}}]\n"))
	unharmed(t, stop)
}

// unharmed ends a load, which must have failed nowhere.
func unharmed(t *testing.T, stop func() (int64, []string)) {
	t.Helper()
	sent, failed := stop()
	t.Logf("%d requests, %d failed", sent, len(failed))
	if len(failed) > 0 || sent < 50 {
		t.Errorf("of %d requests %d failed:\n%s", sent, len(failed), strings.Join(failed[:min(len(failed), 10)], "\n"))
	}
}

// testRestarts: the application, the control plane and the injector, each rolled out anew under load.
func testRestarts(t *testing.T, n *node) {
	stop := n.load(t, n.gateway(t))
	n.kubectl(t, "rollout", "restart", "-n", "istio-system", "deploy/mizzen-controlplane", "deploy/mizzen-injector")
	n.kubectl(t, "rollout", "restart", "-n", "shop", "deploy/customer-v1", "deploy/preference-v1", "deploy/recommendation-v1", "deploy/recommendation-v2")
	n.rolled(t, "istio-system")
	n.rolled(t, "shop")
	ready(t, n, "shop", 2) // those of before are gone
	ready(t, n, "istio-system", 1)
	unharmed(t, stop)
	unstarted(t, n)
}

// testClassic: the sidecar as an ordinary container, by annotation.
func testClassic(t *testing.T, n *node) {
	const patch = `{"spec":{"template":{"metadata":{"annotations":{"sidecar.istio.io/nativeSidecar":"false"}}}}}`
	for _, name := range []string{"customer-v1", "preference-v1", "recommendation-v1", "recommendation-v2"} {
		n.kubectl(t, "patch", "deploy", "-n", "shop", name, "-p", patch)
	}
	n.rolled(t, "shop")
	ready(t, n, "shop", 2)
	if got := n.kubectl(t, "get", "pods", "-n", "shop", "-l", "app=customer", "-o", "jsonpath={.items[0].spec.containers[*].name}"); !strings.Contains(got, "istio-proxy") {
		t.Errorf("containers: %s", got)
	}
	if got := n.curl(t, "outside", customer(t, n)); !strings.Contains(got, "=> recommendation") {
		t.Errorf("through the gateway: %s", got)
	}
}

// testRevision: a second control plane beside the first takes the namespace over, under load, and gives it back.
func testRevision(t *testing.T, n *node) {
	n.install(t, "--revision", "canary", "--set", "ratelimit.enabled=false")
	stop := n.load(t, n.gateway(t))
	n.kubectl(t, "label", "namespace", "shop", "istio-injection-", "istio.io/rev=canary")
	n.kubectl(t, "rollout", "restart", "-n", "shop", "deploy")
	n.rolled(t, "shop")
	ready(t, n, "shop", 2)
	got := n.kubectl(t, "get", "pods", "-n", "shop", "-l", "app=customer", "-o", `jsonpath={.items[0].spec.containers[?(@.name=="istio-proxy")].env[?(@.name=="PROXY_CONFIG")].value}`)
	if !strings.Contains(got, "mizzen-controlplane-canary.istio-system.svc:15012") {
		t.Errorf("the pods are not the canary's: %s", got)
	}
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v2}}]\n")) // which the canary serves
	settles(t, n, v2)
	n.remove(t, routes("  - route: [{destination: {host: recommendation}}]\n"))
	await(t, "the canary's validating webhook closes", func() string {
		return n.kubectl(t, "get", "validatingwebhookconfiguration", "mizzen-validator-canary", "-o", "jsonpath={.webhooks[0].failurePolicy}")
	}, func(s string) bool { return s == "Fail" })
	n.kubectl(t, "label", "namespace", "shop", "istio-injection=enabled", "istio.io/rev-")
	n.kubectl(t, "rollout", "restart", "-n", "shop", "deploy")
	n.rolled(t, "shop")
	ready(t, n, "shop", 2)
	n.mizzen(t, "uninstall", "--revision", "canary")
	unharmed(t, stop)
}

// testUninstall: the cluster is as it was, and the applications run without it.
func testUninstall(t *testing.T, n *node) {
	n.kubectl(t, "label", "namespace", "shop", "istio-injection-")
	n.kubectl(t, "rollout", "restart", "-n", "shop", "deploy")
	n.rolled(t, "shop")
	ready(t, n, "shop", 1)
	n.mizzen(t, "uninstall", "--purge")
	if got := n.curl(t, "shop", "http://customer:8080/"); !strings.Contains(got, "=> recommendation") {
		t.Errorf("the chain without Mizzen: %s", got)
	}
	n.remove(t, apps)
	n.kubectl(t, "delete", "namespace", "istio-system")
	late := regexp.MustCompile(`kube-|system:|apiserver| default$`) // what a cluster may make for itself after its start
	for o := range strings.SplitSeq(strings.TrimSpace(n.everything(t)), "\n") {
		if !strings.Contains(n.before, o+"\n") && !late.MatchString(o) {
			t.Errorf("left behind: %s", o)
		}
	}
}
