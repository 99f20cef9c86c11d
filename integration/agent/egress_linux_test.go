package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

const registryOnly = `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
`

const external = registryOnly + `---
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {name: outside, namespace: default}
spec:
  hosts: [outside.example]
  location: MESH_EXTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {name: secure, namespace: default}
spec:
  hosts: [secure.example]
  location: MESH_EXTERNAL
  ports: [{number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
`

// egress: where only what is known may be reached, hosts outside are after a ServiceEntry names them, and only those.
func (w *world) egress(t *testing.T) {
	const plain, secure, other = "http://outside.example/", "https://secure.example/", "https://other.example/"
	customer := w.pods["customer-v1"]
	w.only(t, registryOnly)
	envoytest.Await(t, 30*time.Second, "strangers are blocked", func() bool {
		_, code := customer.curl(plain)
		return code == 502
	})
	if body, code := customer.curl("-k", secure); code != 0 {
		t.Errorf("a stranger by HTTPS: status %d, %s", code, body)
	}
	w.only(t, external)
	reached := func(url, by string) bool {
		body, code := customer.curl("-k", url)
		return code == 200 && strings.HasPrefix(body, "outside for ") && strings.HasSuffix(body, " from "+by)
	}
	for _, url := range []string{plain, secure} {
		envoytest.Await(t, 30*time.Second, url+" answers", func() bool { return reached(url, customer.IP) })
	}
	if body, code := customer.curl("-k", other); code != 0 {
		t.Errorf("another host at the same address by HTTPS: status %d, %s", code, body)
	}
	if body, code := customer.curl("http://other.example/"); code != 502 {
		t.Errorf("another host at the same address by HTTP: status %d, %s", code, body)
	}
	w.only(t, external+throughGateway)
	by := w.pods["istio-egressgateway"].IP
	for _, url := range []string{plain, secure} {
		envoytest.Await(t, 30*time.Second, url+" is reached through the gateway", func() bool { return reached(url, by) })
	}
	if body, code := customer.curl("-k", other); code != 0 {
		t.Errorf("another host by HTTPS, with the gateway: status %d, %s", code, body)
	}
}

// throughGateway is what Istio's tutorial has for it.
const throughGateway = `---
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: egress, namespace: default}
spec:
  selector: {istio: egressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [outside.example]}
  - {port: {number: 443, name: tls, protocol: TLS}, hosts: [secure.example], tls: {mode: PASSTHROUGH}}
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: outside, namespace: default}
spec:
  hosts: [outside.example]
  gateways: [egress, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [egress], port: 80}]
    route: [{destination: {host: outside.example, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: secure, namespace: default}
spec:
  hosts: [secure.example]
  gateways: [egress, mesh]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [secure.example]}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 443}}}]
  - match: [{gateways: [egress], port: 443, sniHosts: [secure.example]}]
    route: [{destination: {host: secure.example, port: {number: 443}}}]
`
