package scenarios

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Row 10: what does not fit into the pool is refused at once, and only that.
func TestCircuitBreaker(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	const details = "http://details:9080/"
	overflow := func(a meshtest.Answer) bool {
		return a.Code == 503 && strings.Contains(a.Body, "overflow") && a.Header.Get("x-envoy-overloaded") == "true"
	}
	classify := func(a meshtest.Answer) string {
		if overflow(a) {
			return "overflow"
		}
		return code(a)
	}
	m.Apply(t, `
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: details}
spec:
  host: details
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 1}
      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}
`)
	// Eight at once, of which one is answered and one waits: of 16, some pass and some overflow, and nothing else happens.
	var got map[string]int
	c.Await(t, "an overflow", func(meshtest.Answer) bool {
		got = c.Tally(t, 16, classify, details, "slow: 100ms")
		return got["overflow"] > 0
	}, details)
	if got["200"] == 0 || got["200"]+got["overflow"] != 16 {
		t.Errorf("answers %v: want 200s and overflows only", got)
	}
	for range 20 {
		if a := c.Must(t, details); a.Code != 200 {
			t.Fatalf("one at a time fits: got %d %q", a.Code, a.Body)
		}
	}
}

// Row 10: an endpoint that fails is left out, and comes back when its time is over. The obsolete consecutiveErrors counts
// every 5xx, as in the tutorials; maxEjectionPercent lets one of three go, which its default of 10 would not.
func TestOutlierEjection(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	m.Apply(t, `
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    outlierDetection: {consecutiveErrors: 1, interval: 1s, baseEjectionTime: 4s, maxEjectionPercent: 100}
`)
	const active = `^cluster\.outbound\|9080\|\|reviews.*outlier_detection\.ejections_active$`
	meshtest.Eventually(t, "one failure ejects", func() bool {
		a, err := c.Get(reviews, "fail: 1")
		return err == nil && a.Code == 500 && m.Stat(t, "productpage-v1-0", active) > 0
	})
	// Workers hear of an ejection within a second (Envoy merges such updates).
	var got map[string]int
	c.Await(t, "fewer than three answer", func(meshtest.Answer) bool {
		got = c.Tally(t, 60, version, reviews)
		return len(got) < 3 && got["other"] == 0
	}, reviews)
	c.Await(t, "all three answer again", func(meshtest.Answer) bool {
		got = c.Tally(t, 60, version, reviews)
		return got["v1"] > 0 && got["v2"] > 0 && got["v3"] > 0 && got["other"] == 0
	}, reviews)
	if n := m.Stat(t, "productpage-v1-0", active); n != 0 {
		t.Errorf("%d are still ejected", n)
	}
}
