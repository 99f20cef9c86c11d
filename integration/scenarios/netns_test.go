package scenarios

import (
	"os"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/localmesh/podnet"
)

// The rows once more in a mesh whose workloads have network namespaces, where traffic is intercepted as in Kubernetes. With
// MIZZEN_TEST_ISOLATION=netns every test of this package runs there anyway, and here only what others do not have.
func TestNetns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if err := podnet.Supported(); err != nil {
		envoytest.Missing(t, err)
	}
	type row struct {
		name string
		test func(*testing.T)
	}
	rows := []row{{"1 and 15: without a sidecar", outsider}}
	if os.Getenv(meshtest.Isolation) == "" {
		t.Setenv(meshtest.Isolation, "netns")
		rows = append(rows, []row{
			{"2: no rules", TestNoRules},
			{"3: subsets and weights", TestSubsetsAndWeights},
			{"4: header canary", TestHeaderCanary},
			{"5: paths", TestPathRouting},
			{"8: faults", TestFaults},
			{"13: gateway hosts", TestGatewayHosts},
			{"14: egress", TestEgress},
			{"19: access log", TestAccessLog},
			{"21: Sidecar", TestSidecarLimits},
			{"22: protocols", TestProtocols},
			{"22: gRPC with rules", TestGRPCRules},
		}...)
	}
	if !shared.Mesh(t).Isolated() {
		t.Fatal("workloads have no network namespaces")
	}
	for _, r := range rows {
		t.Run(r.name, r.test)
	}
}

// Rows 1 and 15: a workload that wants no sidecar has none, and its plaintext is taken until the mode is STRICT; what has a sidecar is
// encrypted all the while, and the server's application is told who calls.
func outsider(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, outsiderManifest)
	meshtest.Eventually(t, "the workload runs", func() bool {
		if m.Reload() != nil {
			return false
		}
		for _, w := range m.Ready.Workloads {
			if w.Name == "outsider-v1-0" {
				return true
			}
		}
		return false
	})
	if out, _ := m.Run(t, "", "proxy-status"); strings.Contains(out, "outsider") || !strings.Contains(out, "productpage-v1-0") {
		t.Errorf("a sidecar of a workload that wants none, or none at all:\n%s", out)
	}
	const details = "http://details:9080/"
	in, out := m.From(t, "productpage-v1-0"), m.From(t, "outsider-v1-0")
	handshakes := func() int { return m.Stat(t, "details-v1-0", `^listener\..*ssl\.handshake$`) }
	plain := func(t *testing.T) {
		before := handshakes()
		a := out.Await(t, "plaintext is taken", hasCode(200), details, "accept: application/json")
		if n := handshakes() - before; n != 0 || strings.Contains(a.Body, "spiffe:") {
			t.Errorf("%d TLS handshakes for plaintext; the application saw %s", n, a.Body)
		}
	}
	encrypted := func(t *testing.T) {
		a := in.Await(t, "mesh TLS is taken", hasCode(200), details, "accept: application/json")
		if !strings.Contains(a.Body, "URI=spiffe://cluster.local/ns/default/sa/") || handshakes() == 0 {
			t.Errorf("%d TLS handshakes; the application saw %s", handshakes(), a.Body)
		}
	}
	t.Run("permissive", func(t *testing.T) { plain(t); encrypted(t) })
	m.Apply(t, "apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule\nmetadata: {name: details}\nspec: {host: details, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}\n")
	t.Run("ISTIO_MUTUAL", func(t *testing.T) { plain(t); encrypted(t) })
	m.Apply(t, "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: details}\nspec: {selector: {matchLabels: {app: details}}, mtls: {mode: STRICT}}\n")
	t.Run("STRICT", func(t *testing.T) {
		out.Await(t, "plaintext is refused", hasCode(502), details) // by the namespace's proxy: nobody answered
		encrypted(t)
	})
}

const outsiderManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: outsider-v1}
spec:
  selector: {matchLabels: {app: outsider, version: v1}}
  template:
    metadata:
      labels: {app: outsider, version: v1}
      annotations: {sidecar.istio.io/inject: "false"}
    spec: {containers: [{name: app, image: "example/outsider:v1", ports: [{containerPort: 9080}]}]}
`
