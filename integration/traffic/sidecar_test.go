package traffic

import (
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// A workload's Sidecar opens a port that no Service has and leads it to the application; a ServiceEntry finds the workload by its
// labels and gets there.
func TestIngressBehindWorkloadSelector(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, client)
	m.Apply(t, `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: near}
spec:
  workloadSelector: {labels: {version: near}}
  ingress:
  - port: {number: 7777, protocol: HTTP, name: http}
    defaultEndpoint: 127.0.0.1:9080
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: near}
spec:
  hosts: [near.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 7777}]
  workloadSelector: {labels: {app: shop, version: near}}
`)
	const url = "http://near.example/"
	c.Await(t, "the near shop by its own port", func(a meshtest.Answer) bool { return version(a) == "near" }, url)
	if got := c.Tally(t, 20, version, url); got["near"] != 20 {
		t.Errorf("answers %v: want the near shop alone", got)
	}
}
