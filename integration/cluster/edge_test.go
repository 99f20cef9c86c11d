package cluster

import (
	"strings"
	"testing"
)

// entrance leads requests for /customer from the ingress gateway to the shop.
const entrance = `
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: shop, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: customer, namespace: shop}
spec:
  hosts: ["*"]
  gateways: [shop]
  http:
  - match: [{uri: {prefix: /customer}}]
    rewrite: {uri: /}
    route: [{destination: {host: customer}}]
`

// egress leads requests for the host outside through the egress gateway, as Istio's documentation does.
const egress = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: shop}
spec:
  selector: {istio: egressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [web.outside.svc.outside]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: egress, namespace: shop}
spec:
  hosts: [web.outside.svc.outside]
  gateways: [mesh, egress]
  http:
  - match: [{gateways: [mesh], port: 8080}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [egress], port: 80}]
    route: [{destination: {host: web.outside.svc.outside, port: {number: 8080}}}]
`

// testGateway: scenario 13.
func testGateway(t *testing.T, n *node) {
	gateway := n.gateway(t)
	if got := n.curl(t, "outside", "http://"+gateway+"/customer"); !strings.Contains(got, "curl: (7)") {
		t.Errorf("without a Gateway nothing should answer: %s", got)
	}
	n.apply(t, strings.ReplaceAll(entrance, `hosts: ["*"]`, `hosts: [shop.example]`))
	status := func(host, path string) string {
		return n.curl(t, "outside", "-o", "/dev/null", "-w", "%{http_code}", "-H", "host: "+host, "http://"+gateway+path)
	}
	await(t, "the gateway answers for its host", func() string { return status("shop.example", "/customer") }, func(s string) bool { return s == "200" })
	if got := status("other.example", "/customer"); got != "404" {
		t.Errorf("another host: %s", got)
	}
	n.apply(t, entrance)
	await(t, "the gateway answers", func() string { return n.curl(t, "outside", "http://"+gateway+"/customer") }, func(s string) bool { return strings.HasPrefix(s, "customer v1") })
	if got := n.curl(t, "outside", "-o", "/dev/null", "-w", "%{http_code}", "http://"+gateway+"/other"); got != "404" {
		t.Errorf("a path without a route: %s", got)
	}
}

// testEgress: scenario 14, over HTTP.
func testEgress(t *testing.T, n *node) {
	const url = "http://web.outside.svc.outside:8080/"
	ask := func() string { return n.curl(t, "shop", "-w", " %{http_code}", url) }
	if got := ask(); !strings.HasPrefix(got, "web v1") {
		t.Errorf("ALLOW_ANY: %s", got)
	}
	n.install(t, "--set", "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY")
	await(t, "a host outside is blocked", ask, func(s string) bool { return strings.HasSuffix(s, " 502") })
	n.apply(t, `
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.outside.svc.outside]
  ports: [{number: 8080, name: http, protocol: HTTP}]
  resolution: DNS
`)
	await(t, "a ServiceEntry lets it through", ask, func(s string) bool { return strings.HasPrefix(s, "web v1") })
	n.install(t)
}

// testEgressGateway: scenario 14's other half: the mesh's requests for a host outside leave through the egress gateway. Its rules stay: a
// proxy without any listener cannot say that it has all that it should, and testControlPlaneAway holds every proxy to that.
func testEgressGateway(t *testing.T, n *node) {
	n.apply(t, egress)
	log := func() string {
		n.curl(t, "shop", "http://web.outside.svc.outside:8080/by-the-egress-gateway")
		return n.kubectl(t, "logs", "-n", "istio-system", "deploy/istio-egressgateway", "-c", "istio-proxy", "--tail", "20")
	}
	await(t, "the egress gateway's log has the request", log, func(s string) bool {
		return strings.Contains(s, "/by-the-egress-gateway") && strings.Contains(s, `" 200 `)
	})
}

// refused says whether curl was refused because it came in plaintext.
func refused(answer string) bool {
	return strings.Contains(answer, "curl: (56)") || strings.Contains(answer, "curl: (52)")
}

// strict puts STRICT in force: until then the application at a url takes plaintext, and thereafter none.
func strict(t *testing.T, n *node, url, application string) {
	t.Helper()
	if got := n.curl(t, "outside", url); !strings.HasPrefix(got, application) {
		t.Errorf("PERMISSIVE takes plaintext: %s", got)
	}
	n.apply(t, `{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: istio-system}, spec: {mtls: {mode: STRICT}}}`)
	await(t, "STRICT refuses plaintext", func() string { return n.curl(t, "outside", url) }, refused)
}

// identity is what the certificate says of a namespace's client.
func identity(namespace string) string {
	return "URI=spiffe://cluster.local/ns/" + namespace + "/sa/default"
}

// told checks that the application at a url is told who calls: the namespace's client.
func told(t *testing.T, n *node, namespace, url string) {
	t.Helper()
	if got := n.curl(t, namespace, "-H", "accept: application/json", url); !strings.Contains(got, identity(namespace)) {
		t.Errorf("%s is not told that its caller is %s: %s", url, identity(namespace), got)
	}
}

// testMutualTLS: scenario 15, and the kubelet's probes.
func testMutualTLS(t *testing.T, n *node) {
	const url = "http://recommendation.shop.svc.cluster.local:8080/"
	strict(t, n, url, "recommendation")
	if got := n.curl(t, "shop", "http://customer:8080/"); !strings.Contains(got, "=> recommendation") {
		t.Errorf("the chain under STRICT: %s", got)
	}
	if got := n.curl(t, "outside", customer(t, n)); !strings.Contains(got, "=> recommendation") {
		t.Errorf("through the gateway under STRICT: %s", got)
	}
	told(t, n, "shop", "http://recommendation:8080/")
	n.kubectl(t, "rollout", "restart", "-n", "shop", "deploy/recommendation-v1", "deploy/customer-v1") // new pods become ready: their probes pass, by HTTP and by TCP
	n.rolled(t, "shop", "deploy/recommendation-v1", "deploy/customer-v1")
	ready(t, n, "shop", 2)
	unstarted(t, n)
}
