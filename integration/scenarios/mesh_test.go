// Package scenarios holds docs/scenarios.md's rows as tests: what users of Istio's tutorials expect, on real Envoys run
// by `mizzen up`. One mesh serves every test; each takes away what it applied.
package scenarios

import (
	"math"
	"regexp"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// shared is the bookshop. TestMain cannot skip, so the first test that needs it starts it.
var shared = meshtest.Shared{Manifests: "testdata/bookshop"}

func TestMain(m *testing.M) { shared.Main(m) }

const reviews = "http://reviews:9080/"

// version names the version of the first service in a stand-in's answer: "reviews v2 (reviews-v2-0) => ..." is "v2".
func version(a meshtest.Answer) string {
	if m := versionPattern.FindStringSubmatch(a.Body); a.Code == 200 && m != nil {
		return m[1]
	}
	return "other"
}

var (
	versionPattern  = regexp.MustCompile(`^\S+ (v\d+) \(`)
	instancePattern = regexp.MustCompile(`^\S+ v\d+ \(([^)]+)\)`)
)

// instance names the pod that answered.
func instance(a meshtest.Answer) string {
	if m := instancePattern.FindStringSubmatch(a.Body); a.Code == 200 && m != nil {
		return m[1]
	}
	return "other"
}

// code is the status as a key.
func code(a meshtest.Answer) string {
	return string(rune('0'+a.Code/100)) + string(rune('0'+a.Code/10%10)) + string(rune('0'+a.Code%10))
}

// wantShare asserts that count of n is within 5 sigma of share: a right program fails once in 1.7 million runs.
func wantShare(t *testing.T, what string, count, n int, share float64) {
	t.Helper()
	sigma := math.Sqrt(float64(n) * share * (1 - share))
	if d := math.Abs(float64(count) - float64(n)*share); d > 5*sigma {
		t.Errorf("%s: %d of %d, want a share of %.3f within 5 sigma (%.0f)", what, count, n, share, 5*sigma)
	}
}

func isVersion(v string) func(meshtest.Answer) bool {
	return func(a meshtest.Answer) bool { return version(a) == v }
}

func hasCode(c int) func(meshtest.Answer) bool {
	return func(a meshtest.Answer) bool { return a.Code == c }
}

const reviewsSubsets = `
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: v3, labels: {version: v3}}
---
`

// reviewsTo is a VirtualService of the host reviews with this http section, on top of its subsets.
func reviewsTo(http string) string {
	return reviewsSubsets + `
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
` + http
}
