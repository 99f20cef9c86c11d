package edges

import (
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Done when 2, delegation: what a team's VirtualService says holds under the path that the root gives it, and is gone with it.
func TestDelegation(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: delegating}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http-delegating, protocol: HTTP}
    hosts: [team.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root}
spec:
  hosts: [team.example.com]
  gateways: [delegating]
  http:
  - match: [{uri: {prefix: /team}}]
    delegate: {name: team, namespace: blue}
  - directResponse: {status: 200, body: {string: root}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: team, namespace: blue}
spec:
  http:
  - match: [{uri: {prefix: /team/a}}]
    directResponse: {status: 200, body: {string: a}}
  - match: [{uri: {prefix: /team}}]
    route: [{destination: {host: front.default.svc.cluster.local}}]
`)
	c := m.ViaGateway()
	is := func(body string) func(meshtest.Answer) bool {
		return func(a meshtest.Answer) bool { return a.Code == 200 && a.Body == body }
	}
	c.Await(t, "the delegate's first route", is("a"), "/team/a", "Host: team.example.com")
	c.Await(t, "the delegate's second route", func(a meshtest.Answer) bool { return a.Code == 200 && a.Body != "root" && a.Body != "a" },
		"/team/b", "Host: team.example.com")
	c.Await(t, "the root's own", is("root"), "/other", "Host: team.example.com")
}
