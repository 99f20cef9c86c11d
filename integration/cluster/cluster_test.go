package cluster

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/apps.yaml
var apps string

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
		{"applied", false, testApplied},
		{"install", true, testInstall},
		{"chain", true, testChain},
		{"gateway", true, testGateway},
		{"graph", false, testGraph},
		{"by turns", false, testTurns},
		{"subsets and weights", false, testWeights},
		{"rules deleted", false, testBack},
		{"header canary", false, testHeader},
		{"paths", false, testPaths},
		{"fault", false, testFault},
		{"egress", false, testEgress},
		{"egress gateway", false, testEgressGateway},
		{"mutual TLS", false, testMutualTLS},
		{"two families", false, testFamilies},
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

// testApplied: the installation's text, as another program applies it, again and again.
func testApplied(t *testing.T, n *node) {
	text := n.install(t, "--dry-run", "--set", "validation.failurePolicy=Fail")
	defer n.remove(t, text)
	apply := func() { n.run(t, text, "scripts/node", "kubectl", "apply", "--server-side", "-f", "-") }
	apply()
	n.rolled(t, "istio-system") // gateways, too, whose pods may have been made before anybody was asked about them
	await(t, "the validating webhook is trusted", func() string {
		return n.kubectl(t, "get", "validatingwebhookconfiguration", "mizzen-validator", "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}")
	}, func(s string) bool { return s != "" })
	apply()
	if got := n.kubectl(t, "get", "deploy", "-n", "istio-system", "-o", "jsonpath={.items[*].metadata.generation}"); strings.Trim(got, "1 ") != "" {
		t.Errorf("the second time something else was applied: generations %s", got)
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
