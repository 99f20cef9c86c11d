package traffic

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// The client's own region is used alone; when it fails, the region that its rule names takes over, and gives back when the near
// one answers again. `proxy-config endpoints` shows what is left out.
func TestFailover(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, client)
	m.Apply(t, `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN, localityLbSetting: {failover: [{from: r1, to: r3}]}}
    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 4s, maxEjectionPercent: 100}
`)
	only := func(want string) func(meshtest.Answer) bool {
		return func(meshtest.Answer) bool { return c.Tally(t, 30, version, shop)[want] == 30 }
	}
	c.Await(t, "the near region alone answers", only("near"), shop)
	meshtest.Eventually(t, "one failure ejects the near one", func() bool {
		_, err := c.Get(shop, "fail: 1")
		return err == nil && strings.Contains(endpoints(t, m), "FAILED")
	})
	c.Await(t, "the failover region takes over", only("farther"), shop)
	c.Await(t, "the near region is back", only("near"), shop)
	if out := endpoints(t, m); strings.Contains(out, "FAILED") {
		t.Errorf("still left out:\n%s", out)
	}
}

// endpoints is what istioctl's users look at.
func endpoints(t *testing.T, m *meshtest.Mesh) string {
	t.Helper()
	out, code := m.Run(t, "", "proxy-config", "endpoints", client, "--cluster", "outbound|9080||shop.default.svc.cluster.local")
	if code != 0 {
		t.Fatalf("proxy-config endpoints ended with %d:\n%s", code, out)
	}
	return out
}

// Requests of clients in one place are divided as written.
func TestDistribute(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, client)
	m.Apply(t, `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  trafficPolicy:
    loadBalancer: {simple: RANDOM, localityLbSetting: {distribute: [{from: "r1/*", to: {"r1/*": 70, "r2/z1": 30}}]}}
`)
	c.Await(t, "the region without a share gets nothing", func(meshtest.Answer) bool {
		return c.Tally(t, 60, version, shop)["farther"] == 0
	}, shop)
	const n = 1000
	got := c.Tally(t, n, version, shop)
	if got["near"]+got["far"] != n {
		t.Errorf("answers %v: want near and far alone", got)
	}
	wantShare(t, "the far region", got["far"], n, 0.3)
}
