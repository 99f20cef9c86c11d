package cluster

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

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

// testClassic: the sidecar as an ordinary container, by annotation; and the client's with the policies as WebAssembly.
func testClassic(t *testing.T, n *node) {
	const patch = `{"spec":{"template":{"metadata":{"annotations":{"sidecar.istio.io/nativeSidecar":"false"}}}}}`
	for _, name := range []string{"customer-v1", "preference-v1", "recommendation-v1", "recommendation-v2"} {
		n.kubectl(t, "patch", "deploy", "-n", "shop", name, "-p", patch)
	}
	n.kubectl(t, "patch", "deploy", "-n", "shop", "client", "-p", `{"spec":{"template":{"metadata":{"annotations":{"mizzen.dev/filters":"wasm"}}}}}`)
	n.rolled(t, "shop")
	ready(t, n, "shop", 2)
	if got := n.kubectl(t, "get", "pods", "-n", "shop", "-l", "app=client", "-o", "jsonpath={.items[0].spec.initContainers[*].image}"); !strings.Contains(got, "mizzen/wasm:test") {
		t.Errorf("images of the client's init containers: %s", got)
	}
	fault := routes("  - fault: {abort: {percentage: {value: 100}, httpStatus: 418}}\n    route: [{destination: {host: recommendation}}]\n")
	n.apply(t, fault)
	await(t, "a fault is in force", func() string {
		return n.curl(t, "shop", "-o", "/dev/null", "-w", "%{http_code}", "http://recommendation:8080/")
	}, func(s string) bool { return s == "418" })
	n.remove(t, fault)
	if got := n.kubectl(t, "get", "pods", "-n", "shop", "-l", "app=customer", "-o", "jsonpath={.items[0].spec.containers[*].name}"); !strings.Contains(got, "istio-proxy") {
		t.Errorf("containers: %s", got)
	}
	if got := n.curl(t, "outside", customer(t, n)); !strings.Contains(got, "=> recommendation") {
		t.Errorf("through the gateway: %s", got)
	}
}
