package cluster

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed testdata/restricted.yaml
var restricted string

// conflist is the node's CNI configuration.
func (n *node) conflist() string { return filepath.Join(n.folder, "conf", "cni", "10-node.conflist") }

func (n *node) plugins() string { return filepath.Join(n.folder, "cni") }

// kubeconfig is what the plugin asks the API server with, where a runtime says nothing of pods.
func (n *node) kubeconfig() string {
	return filepath.Join(filepath.Dir(n.conflist()), "mizzen-cni-kubeconfig")
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestNodeInterception: pilot.cni.enabled, from a node without the plugin to one without it.
func TestNodeInterception(t *testing.T) {
	n := start(t)
	before := read(t, n.conflist())
	set := fmt.Sprintf("pilot.cni.enabled=true,pilot.cni.cniConfDir=%s,pilot.cni.cniBinDir=%s", filepath.Dir(n.conflist()), n.plugins())
	out := n.install(t, "--profile", "minimal", "--set", set)
	if !strings.Contains(out, "daemonset mizzen-cni is available") || !strings.Contains(read(t, n.conflist()), `"type":"mizzen-cni"`) {
		t.Fatalf("%s\n%s", out, read(t, n.conflist()))
	}
	for _, step := range []struct {
		name string
		run  func(*testing.T, *node)
	}{
		{"restricted", testRestricted},
		{"strict", testStrict},
		{"rewritten", func(t *testing.T, n *node) { testRewritten(t, n, before) }},
		{"restart", testRestartOfPlugin},
		{"refused", testRefused},
		{"race", testRace},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(t, n) }) {
			t.Log(n.kubectl(t, "get", "pods", "-A"))
			t.Log(n.kubectl(t, "get", "events", "-A", "--field-selector", "type=Warning"))
			t.Log(n.kubectl(t, "logs", "-n", "istio-system", "daemonset/mizzen-cni", "--tail", "50"))
			break
		}
	}
	n.remove(t, restricted)
	n.mizzen(t, "uninstall", "--purge")
	if got := read(t, n.conflist()); got != before {
		t.Errorf("the node's CNI configuration was\n%s\nand is\n%s", before, got)
	}
	for _, file := range []string{filepath.Join(n.plugins(), "mizzen-cni"), n.kubeconfig()} {
		if _, err := os.Stat(file); err == nil {
			t.Errorf("left behind: %s", file)
		}
	}
}

// testRestricted: the namespace's pods come up, injected, without a container that their standard refuses.
func testRestricted(t *testing.T, n *node) {
	n.apply(t, restricted)
	n.rolled(t, "safe")
	n.rolled(t, "outside")
	ready(t, n, "safe", 2)
	got := n.kubectl(t, "get", "pods", "-n", "safe", "-l", "app=server", "-o", "jsonpath={.items[0].spec.initContainers[*].name}")
	if got != "istio-validation mizzen-module istio-proxy" {
		t.Errorf("init containers: %s", got)
	}
	name := n.kubectl(t, "get", "pods", "-n", "safe", "-l", "app=server", "-o", "jsonpath={.items[0].metadata.name}")
	if got := n.kubectl(t, "--kubeconfig", n.kubeconfig(), "get", "pod", "-n", "safe", name, "-o", `jsonpath={.metadata.annotations.mizzen\.dev/interception}`); !strings.Contains(got, `"args":[`) {
		t.Errorf("by the plugin's kubeconfig: %s", got)
	}
	if out, err := n.try(t, "", "scripts/node", "kubectl", "--kubeconfig", n.kubeconfig(), "get", "secrets", "-A"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("the plugin may read secrets: %s %v", out, err)
	}
}

// testStrict: connections go through both sidecars.
func testStrict(t *testing.T, n *node) {
	const url = "http://server.safe.svc.cluster.local:8080/"
	strict(t, n, url, "server v1")
	told(t, n, "safe", url)
}

// testRewritten: another program writes the node's configuration anew.
func testRewritten(t *testing.T, n *node, before string) {
	if err := os.WriteFile(n.conflist(), []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	await(t, "the plugin is in the configuration again", func() string { return read(t, n.conflist()) }, func(s string) bool { return strings.Contains(s, `"type":"mizzen-cni"`) })
}

// testRestartOfPlugin: while the DaemonSet has no pod, pods start as before, by the word of the runtime alone.
func testRestartOfPlugin(t *testing.T, n *node) {
	n.away(t)
	if err := os.Remove(n.kubeconfig()); err != nil {
		t.Fatal(err)
	}
	n.kubectl(t, "rollout", "restart", "-n", "safe", "deploy/server")
	n.rolled(t, "safe")
	ready(t, n, "safe", 2)
	n.back(t)
}

// away leaves the DaemonSet without pods; back gives it some.
func (n *node) away(t *testing.T) {
	t.Helper()
	n.kubectl(t, "patch", "daemonset", "-n", "istio-system", "mizzen-cni", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":"true"}}}}}`)
	await(t, "the DaemonSet's pod is gone", func() string {
		return n.kubectl(t, "get", "pods", "-n", "istio-system", "-l", "app=mizzen-cni", "--no-headers")
	}, func(s string) bool { return s == "" })
}

func (n *node) back(t *testing.T) {
	t.Helper()
	n.kubectl(t, "patch", "daemonset", "-n", "istio-system", "mizzen-cni", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":null}}}}}`)
	n.kubectl(t, "rollout", "status", "-n", "istio-system", "daemonset/mizzen-cni", "--timeout", patience.String())
}

// testRefused: a pod for which the plugin cannot do its work does not start, and kubectl describe says why.
func testRefused(t *testing.T, n *node) {
	const broken = `
apiVersion: v1
kind: Pod
metadata:
  name: broken
  namespace: outside
  annotations: {sidecar.istio.io/status: "{}", mizzen.dev/interception: '{"args": ["-b", "http"]}'}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: client, image: "mizzen/client:test", imagePullPolicy: Never, command: [sleep, "1000000"]}]
`
	n.apply(t, broken)
	await(t, "the pod's events say why it does not start", func() string {
		return n.kubectl(t, "get", "events", "-n", "outside", "--field-selector", "involvedObject.name=broken,reason=FailedCreatePodSandBox")
	}, func(s string) bool {
		return strings.Contains(s, "the connections of pod outside/broken cannot be intercepted") && strings.Contains(s, `"http" is not a port`)
	})
	if got := n.kubectl(t, "get", "pod", "-n", "outside", "broken", "-o", "jsonpath={.status.phase}"); got != "Pending" {
		t.Errorf("the pod is %s", got)
	}
	n.remove(t, broken)
}

// testRace: a pod that starts on a node before the plugin is there waits, says what for, and is replaced once it is.
func testRace(t *testing.T, n *node) {
	n.away(t)
	n.run(t, "", filepath.Join(n.folder, "programs", "mizzen"), "cni", "remove", "--conf-dir", filepath.Dir(n.conflist()), "--bin-dir", n.plugins())
	n.kubectl(t, "delete", "pod", "-n", "safe", "-l", "app=server")
	await(t, "the pod says that its connections are not intercepted", func() string {
		return n.kubectl(t, "get", "pods", "-n", "safe", "-l", "app=server", "-o", "jsonpath={.items[*].status.initContainerStatuses[0]}")
	}, func(s string) bool { return strings.Contains(s, "connections are not intercepted") })
	n.back(t)
	n.rolled(t, "safe")
	ready(t, n, "safe", 2)
	if log := n.kubectl(t, "logs", "-n", "istio-system", "daemonset/mizzen-cni"); !strings.Contains(log, "deleted a pod that started before the plugin was in place") {
		t.Errorf("the log does not say that the pod was deleted:\n%s", log)
	}
}
