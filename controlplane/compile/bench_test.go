package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// manyServices has n services with two versions, a DestinationRule and a VirtualService each.
func manyServices(tb testing.TB, n int) istio.Set {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Service
metadata: {name: s%[1]d}
spec: {selector: {app: s%[1]d}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: s%[1]d-v1, labels: {app: s%[1]d, version: v1}}
spec: {containers: [{name: app, image: app}]}
status: {podIP: 10.1.%[2]d.%[3]d, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: s%[1]d-v2, labels: {app: s%[1]d, version: v2}}
spec: {containers: [{name: app, image: app}]}
status: {podIP: 10.2.%[2]d.%[3]d, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: s%[1]d}
spec: {host: s%[1]d, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: s%[1]d}
spec:
  hosts: [s%[1]d]
  http:
  - route:
    - {destination: {host: s%[1]d, subset: v1}, weight: 90}
    - {destination: {host: s%[1]d, subset: v2}, weight: 10}
`, i, i/250, i%250+1)
	}
	set, diags := istio.Decode("many.yaml", strings.NewReader(b.String()))
	if len(diags) > 0 {
		tb.Fatalf("decode: %v", diags[0])
	}
	return set
}

func BenchmarkWorld(b *testing.B) {
	for _, n := range []int{100, 1000} {
		set := manyServices(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				compile.World(compile.Inputs{Set: set})
			}
		})
	}
}
