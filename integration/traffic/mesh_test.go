// Package traffic shows on real Envoys, run by `mizzen up`, what DestinationRule, ServiceEntry, WorkloadEntry and Sidecar do to
// connections: where they go, as whom they begin, and what is left out. One mesh serves every test.
package traffic

import (
	"math"
	"regexp"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

var shared = meshtest.Shared{Manifests: "testdata/zones"}

func TestMain(m *testing.M) { shared.Main(m) }

const (
	client = "client-0"
	shop   = "http://shop:9080/"
)

var answered = regexp.MustCompile(`^\S+ (\S+) \(`)

// version names the deployment that answered: "shop near (shop-near-0)" is "near".
func version(a meshtest.Answer) string {
	if m := answered.FindStringSubmatch(a.Body); a.Code == 200 && m != nil {
		return m[1]
	}
	return "other"
}

// wantShare asserts that count of n is within 5 sigma of share: a right program fails once in 1.7 million runs.
func wantShare(t *testing.T, what string, count, n int, share float64) {
	t.Helper()
	sigma := math.Sqrt(float64(n) * share * (1 - share))
	if d := math.Abs(float64(count) - float64(n)*share); d > 5*sigma {
		t.Errorf("%s: %d of %d, want a share of %.3f within 5 sigma (%.0f)", what, count, n, share, 5*sigma)
	}
}
