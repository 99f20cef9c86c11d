package ratelimit

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

func TestEnvoyproxyConfig(t *testing.T) {
	set, ds := istio.Decode("limits.yaml", strings.NewReader(`apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: front, namespace: shop}
spec:
  limits:
  - {name: all, requests: 500, per: second, scope: global, action: shadow}
  - {name: here, requests: 1, per: second}
  - name: plan
    key: [{header: x-plan}, {header: x-user}]
    requests: 10
    per: minute
    burst: 20
    scope: global
    overrides: [{key: [gold, "*"], requests: 100, per: hour}, {key: ["", ""], requests: 1, per: day}]
  - {name: odd, requests: 1, per: 10s, scope: global}
`))
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	var b strings.Builder
	if err := WriteEnvoyproxyConfig(&b, set, "mizzen"); err != nil {
		t.Fatal(err)
	}
	const want = `# shop/front/odd []: left out: per is 10s, and would have to be a second, minute, hour or day
# shop/front/plan ["*" "*"]: burst 20 has no effect
# shop/front/plan ["" ""]: left out: a missing part cannot be named
domain: mizzen
descriptors:
    - key: limit
      value: shop/front/all
      rate_limit:
        unit: second
        requests_per_unit: 500
      shadow_mode: true
    - key: limit
      value: shop/front/plan
      descriptors:
        - key: key
          descriptors:
            - key: key
              rate_limit:
                unit: minute
                requests_per_unit: 10
        - key: key
          value: gold
          descriptors:
            - key: key
              rate_limit:
                unit: hour
                requests_per_unit: 100
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
