package edges

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Two teams have one host at a gateway, each in a VirtualService of its own: the routes of both hold, the older one's first, and a route
// for everything takes only what nobody else names.
func TestSharedHost(t *testing.T) {
	m := shared.Mesh(t)
	team := func(name, created, http string) string {
		return `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ` + name + `, creationTimestamp: "` + created + `"}
spec:
  hosts: [common.example.com]
  gateways: [common]
  http:
` + http + `---`
	}
	m.Apply(t, `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: common}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http-common, protocol: HTTP}
    hosts: [common.example.com]
---`+team("old", "2024-01-01T00:00:00Z", `
  - match: [{uri: {prefix: /both}}, {uri: {prefix: /old}}, {uri: {prefix: /}}]
    directResponse: {status: 200, body: {string: old}}
`)+team("young", "2024-06-01T00:00:00Z", `
  - match: [{uri: {prefix: /young/first}}]
    directResponse: {status: 200, body: {string: first}}
  - match: [{uri: {prefix: /young}}]
    directResponse: {status: 200, body: {string: young}}
  - match: [{uri: {prefix: /both}}]
    directResponse: {status: 200, body: {string: hidden}}
`))
	c := m.ViaGateway()
	for path, body := range map[string]string{
		"/both": "old", "/old": "old", "/young/first/x": "first", "/young/x": "young", "/anything": "old",
	} {
		c.Await(t, "the answer of "+body, func(a meshtest.Answer) bool { return a.Code == 200 && a.Body == body }, path, "Host: common.example.com")
	}
	meshtest.Eventually(t, "somebody tells of the route that is never reached", func() bool {
		return strings.Contains(m.Output(), "[MZ0511] (VirtualService default/young)") && strings.Contains(m.Output(), "spec.http[0] takes what spec.http[2] here matches")
	})
}
