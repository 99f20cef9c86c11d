package cluster

import (
	"net/netip"
	"strings"
	"testing"
)

// six are Services of the shop with addresses of IPv6, alone and as the second family.
const six = `
apiVersion: v1
kind: Service
metadata: {name: recommendation-six, namespace: shop}
spec: {selector: {app: recommendation}, ports: [{name: http, port: 8080}], ipFamilies: [IPv6]}
---
apiVersion: v1
kind: Service
metadata: {name: preference-both, namespace: shop}
spec: {selector: {app: preference}, ports: [{name: http, port: 8080}], ipFamilyPolicy: RequireDualStack}
`

// testFamilies: pods and Services with addresses of IPv6, under STRICT.
func testFamilies(t *testing.T, n *node) {
	address := func(namespace, app string) string {
		for _, a := range strings.Fields(n.kubectl(t, "get", "pods", "-n", namespace, "-l", "app="+app, "-o", "jsonpath={.items[0].status.podIPs[*].ip}")) {
			if ip, err := netip.ParseAddr(a); err == nil && ip.Is6() {
				return a
			}
		}
		return ""
	}
	pod := address("shop", "recommendation")
	if pod == "" {
		t.Skip("the machine's kernel has no IPv6")
	}
	n.apply(t, six)
	ask := func() string {
		return n.curl(t, "shop", "-H", "accept: application/json", "http://recommendation-six:8080/")
	}
	await(t, "a Service of IPv6 alone answers, by mutual TLS", ask, func(s string) bool { return strings.Contains(s, identity("shop")) })
	for _, family := range []string{"-4", "-6"} {
		await(t, "a Service of both answers by "+family, func() string { return n.curl(t, "shop", family, "http://preference-both:8080/") }, func(s string) bool {
			return strings.HasPrefix(s, "preference v1") && strings.Contains(s, "=> recommendation")
		})
	}
	if got := n.curl(t, "outside", "http://["+pod+"]:8080/"); !refused(got) {
		t.Errorf("STRICT lets plaintext in at the pod's IPv6 address: %s", got)
	}
	if got := n.curl(t, "outside", "http://["+address("istio-system", "istio-ingressgateway")+"]/customer"); !strings.Contains(got, "=> recommendation") {
		t.Errorf("through the gateway's IPv6 address: %s", got)
	}
	n.remove(t, six)
}
